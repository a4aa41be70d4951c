from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.runtime.parent_death import PARENT_VARIABLE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")

CHILD = """
import os, time
from pipelines.runtime.parent_death import end_with_parent
end_with_parent()
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = f"""
import os, subprocess, sys
from pipelines.runtime.parent_death import environment_for_child
environment = os.environ | environment_for_child()
subprocess.run([sys.executable, "-c", {CHILD!r}], env=environment)
"""


def is_running(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # a zombie waits for its parent


def test_a_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_child_whose_parent_has_already_ended_ends_itself() -> None:
    environment = os.environ | {PARENT_VARIABLE: "1"}
    child = subprocess.run([sys.executable, "-c", CHILD], env=environment, timeout=30, check=False)
    assert child.returncode == -signal.SIGKILL
