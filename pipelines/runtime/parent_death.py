"""Child processes that end when their parent ends, even if the parent is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT_VARIABLE = "RESTEM_PARENT_PID"
_PR_SET_PDEATHSIG = 1


def environment_for_child() -> dict[str, str]:
    """Environment variables that let a child notice that this process has already ended."""
    return {PARENT_VARIABLE: str(os.getpid())}


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; does nothing outside Linux."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    expected = os.environ.pop(PARENT_VARIABLE, None)
    if expected is not None and os.getppid() != int(expected):
        # The parent ended before the kernel was asked to watch it.
        os.kill(os.getpid(), signal.SIGKILL)
