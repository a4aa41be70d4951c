"""A cgroup for one sandbox, where the kernel lets this user make one.

It is a second limit on memory, in case a program finds memory that its address space does not hold.
It needs cgroup v2 with the memory controller delegated: `systemd-run --user --scope restem ...`
does that. Nothing else is moved, and no controller is switched on for other processes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from pipelines.rewards.sandbox.isolation import Limits

_OWN = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")
_PREFIX = "restem-sandbox-"
_INTERPRETER_MB = 64
"""Memory of the process that programs are forked from."""


class Cgroup:
    """A cgroup with limits on memory and processes; `command` starts a process in it.

    Args:
        folder: its folder, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, command: list[str]) -> list[str]:
        """A command that enters the group and then becomes `command`."""
        shell = shutil.which("sh") or "/bin/sh"
        enter = 'echo $$ > "$0" && exec "$@"'
        return [shell, "-c", enter, str(self.folder / "cgroup.procs"), *command]

    def remove(self) -> None:
        """Remove the group; its processes have ended."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def make(limits: Limits, mount: Path = _MOUNT, own: Path = _OWN) -> Cgroup | None:
    """A group for one sandbox; None where this user may not make one.

    Args:
        limits: what one program may use.
        mount: where the file system of cgroup v2 is mounted.
        own: the file that names this process's group.
    """
    parent = _delegated(mount, own)
    if parent is None:
        return None
    for left in parent.glob(f"{_PREFIX}*"):
        Cgroup(left).remove()  # of a run that was killed; a group with processes stays
    folder = parent / f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
    megabytes = limits.memory_mb + limits.folder_mb + limits.output_mb + _INTERPRETER_MB
    try:
        folder.mkdir()
        (folder / "memory.max").write_text(str(megabytes * 2**20))
        for name, text in (
            ("memory.swap.max", "0"),  # absent without swap
            ("pids.max", str(limits.threads + 8)),  # absent if not delegated
        ):
            with contextlib.suppress(OSError):
                (folder / name).write_text(text)
    except OSError:
        Cgroup(folder).remove()
        return None
    return Cgroup(folder)


def _delegated(mount: Path, own: Path) -> Path | None:
    """The nearest group around this process in which this user may make groups with a limit.

    Root could make them anywhere, but would leave the limits of its own group: only that one.
    """
    try:
        line = next(t for t in own.read_text().splitlines() if t.startswith("0::"))
    except (OSError, StopIteration):
        return None
    group = mount / line.removeprefix("0::").lstrip("/")
    around = [each for each in (group, *group.parents) if each.is_relative_to(mount)]
    for folder in around[:1] if os.geteuid() == 0 else around:
        try:
            controllers = (folder / "cgroup.subtree_control").read_text().split()
        except OSError:
            return None
        if "memory" in controllers and os.access(folder / "cgroup.procs", os.W_OK):
            return folder if os.access(folder, os.W_OK) else None
    return None
