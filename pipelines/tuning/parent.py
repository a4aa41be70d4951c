"""Processes that end with the process that started them, however that ended."""

from __future__ import annotations

import os
import signal
import sys

PARENT_VARIABLE = "RESTEM_PARENT_PID"
_SET_PARENT_DEATH_SIGNAL = 1


def environment_for_child() -> dict[str, str]:
    """Variables that let a child check that its parent is still there."""
    return {PARENT_VARIABLE: str(os.getpid())}


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; Linux only, elsewhere nothing."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    expected = os.environ.pop(PARENT_VARIABLE, None)
    if expected is not None and os.getppid() != int(expected):
        # The parent ended before the kernel was asked.
        os.kill(os.getpid(), signal.SIGKILL)
