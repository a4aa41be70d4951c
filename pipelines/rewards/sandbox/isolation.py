"""How a program is isolated from the machine, in two steps.

`enter` runs once, in the process that programs are forked from: it gives up the file system, the
network and root. `confine` runs in each program's process before the program's first instruction:
its own user, PID, IPC and mount namespaces, an empty private folder, limits, no capabilities, a
seccomp filter. With bubblewrap, `bwrap` does the first step; then `enter` only gives up root.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.rewards.sandbox import kernel
from pipelines.rewards.sandbox.seccomp import filter_program

BUBBLEWRAP, NAMESPACES, NONE = "bubblewrap", "namespaces", "none"
CODE_FOLDER = "/restem"
"""Where bubblewrap shows this package to the process that programs are forked from."""

_NOBODY = 65534
_INSIDE = 1000
_SHARED = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
_OWN = kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC
_DEVICES = ("null", "zero", "random", "urandom")
_MOUNT_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV
_READ_ONLY = kernel.MS_REMOUNT | kernel.MS_RDONLY | _MOUNT_FLAGS
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    seconds: float = 4.0
    """Wall time; processor time has the same limit, rounded up."""
    memory_mb: int = 1024
    """Address space."""
    output_mb: int = 8
    """Standard output, and any file."""
    folder_mb: int = 16
    """All files of the private folder together."""
    open_files: int = 64
    threads: int = 32


def enter(kind: str, folders: Sequence[str]) -> int | None:
    """Give up the machine; returns a descriptor of /proc for `confine`, None without isolation.

    Args:
        kind: `BUBBLEWRAP`, `NAMESPACES` or `NONE`.
        folders: the folders that stay readable.

    Raises:
        OSError: the kernel refuses.
    """
    if kind == NONE:
        return None
    filter_program()  # cached before the first fork
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    if kind == NAMESPACES:
        _leave_namespaces(proc)
        _replace_root(folders)
    if os.geteuid() == 0:
        _leave_root()
    os.chdir("/")
    return proc


def fork_confined(proc: int | None) -> int:
    """Fork; the child, which gets 0, is the first process of its namespaces."""
    return os.fork() if proc is None else kernel.fork_into(_OWN)


def confine(proc: int | None, owner: tuple[int, int], limits: Limits) -> None:
    """Confine this process for good.

    Args:
        proc: from `enter`.
        owner: user and group of the process that was forked, which the new namespace does not know.
        limits: what the program may use.
    """
    os.setsid()  # else kill(0, ...) would reach the process that programs are forked from
    # Not pipelines.runtime.parent_death: inside bubblewrap only this package can be imported.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if proc is not None:
        _map_user(proc, (_INSIDE, _INSIDE), owner)
        _mount_private_folders(limits)
    _set_limits(limits)
    if proc is not None:
        kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    # Without isolation there may be no filter for the processor; with it there must be one.
    with contextlib.suppress(*([OSError] if proc is None else [])):
        kernel.install_filter(filter_program())


def _leave_namespaces(proc: int) -> None:
    try:
        kernel.unshare(_SHARED)
    except PermissionError:
        owner = os.geteuid(), os.getegid()
        kernel.unshare(_SHARED | kernel.CLONE_NEWUSER)
        _map_user(proc, owner, owner)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)


def _map_user(proc: int, inside: tuple[int, int], outside: tuple[int, int]) -> None:
    for name, text in (
        ("setgroups", "deny"),
        ("gid_map", f"{inside[1]} {outside[1]} 1"),
        ("uid_map", f"{inside[0]} {outside[0]} 1"),
    ):
        file = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)


def _replace_root(folders: Sequence[str]) -> None:
    """Make the root a folder in memory with only `folders` and a few devices, all read-only."""
    kernel.mount("tmpfs", "/tmp", "tmpfs", _MOUNT_FLAGS, "size=1m,mode=755")
    Path("/tmp/old").mkdir()
    Path("/tmp/new").mkdir()
    kernel.pivot_root("/tmp", "/tmp/old")
    os.chdir("/")
    kernel.mount("tmpfs", "/new", "tmpfs", _MOUNT_FLAGS, "size=1m,mode=755")
    for folder in folders:
        source, target = Path("/old" + folder), Path("/new" + folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
            continue
        target.mkdir(exist_ok=True)
        kernel.mount(str(source), str(target), None, kernel.MS_BIND | kernel.MS_REC)
        kernel.mount("none", str(target), None, kernel.MS_BIND | _READ_ONLY)
    for device in _DEVICES:
        target = Path("/new/dev", device)
        target.parent.mkdir(exist_ok=True)
        target.touch()
        kernel.mount(f"/old/dev/{device}", str(target), None, kernel.MS_BIND)
    Path("/new/tmp").mkdir(exist_ok=True)
    Path("/new/old").mkdir()
    kernel.pivot_root("/new", "/new/old")
    os.chdir("/")
    # The machine's root is mounted at /old/old, below the first of the two roots: both go.
    kernel.detach("/old")
    Path("/old").rmdir()
    kernel.mount("none", "/", None, _READ_ONLY)


def _leave_root() -> None:
    # The kernel does not apply process limits to root.
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        return  # root of a user namespace that maps no other user: not the machine's root
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # else /proc/self stays root's, and no user is mapped


def _mount_private_folders(limits: Limits) -> None:
    size = f"size={limits.folder_mb}m,nr_inodes=1024,mode=700"
    kernel.mount("tmpfs", "/tmp", "tmpfs", _MOUNT_FLAGS, size)
    for hidden in ("/proc", CODE_FOLDER):
        if Path(hidden).is_dir():
            kernel.mount("tmpfs", hidden, "tmpfs", _MOUNT_FLAGS, "size=4k,mode=000")
    os.chdir("/tmp")


def _set_limits(limits: Limits) -> None:
    for what, limit in (
        (resource.RLIMIT_AS, limits.memory_mb * _MEBIBYTE),
        (resource.RLIMIT_CPU, int(limits.seconds) + 1),
        (resource.RLIMIT_FSIZE, limits.output_mb * _MEBIBYTE),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, limits.threads),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _, hard = resource.getrlimit(what)
        lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (lowest, lowest))
