"""A process, named so that it can be told from every other one, on this machine or another."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROC = Path("/proc")
_START_FIELD = 19
"""Place of the start time in /proc/PID/stat, after the process's name and its closing bracket."""


@dataclass(frozen=True)
class Process:
    """A process of some machine."""

    host: str
    boot_id: str
    """Id of the running kernel: another one after a reboot. Empty if it is unknown."""
    pid_namespace: str
    """Containers of one kernel have process ids of their own."""
    pid: int
    started: str
    """When it started, in the kernel's ticks: the next process with this id has another one."""

    def __str__(self) -> str:
        return f"{self.pid} on {self.host}"

    @property
    def is_on_this_kernel(self) -> bool:
        """Whether it runs, or ran, on the kernel that runs this process."""
        return bool(self.boot_id) and self.boot_id == _read(BOOT_ID)

    def is_running(self) -> bool | None:
        """Whether it still runs; None if that cannot be seen from here."""
        if not self.is_on_this_kernel or self.pid_namespace != _pid_namespace():
            return None
        return _started(self.pid) == self.started


def this_process() -> Process:
    """The process that calls."""
    pid = os.getpid()
    return Process(socket.gethostname(), _read(BOOT_ID), _pid_namespace(), pid, _started(pid) or "")


def _started(pid: int) -> str | None:
    """When a process started; None if there is none, or it has ended and was not waited for."""
    fields = _read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    if not fields or fields[0] == "Z":
        return None
    return fields[_START_FIELD]


def _pid_namespace() -> str:
    try:
        return str((PROC / "self" / "ns" / "pid").readlink())
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
