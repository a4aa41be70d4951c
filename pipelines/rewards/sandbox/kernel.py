"""Linux system calls that Python's standard library does not offer.

All modules of this package except `sandbox.py` and `launch.py` also run inside the sandbox, where
only the standard library and this package can be imported.
"""

from __future__ import annotations

import ctypes
import os
import platform

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

_SYSTEM_CALLS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "capset": 126},
    "aarch64": {"clone": 220, "pivot_root": 41, "capset": 91},
}
_SIGCHLD = 17
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Move this process to new namespaces."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount a file system, or change the options of a mounted one."""
    encoded = [None if text is None else text.encode() for text in (source, target, kind, data)]
    done = _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    _check(done, f"mount {target}")


def detach(target: str) -> None:
    """Unmount a tree, even if it is in use."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root folder and mount the old root at `old`, which is below it."""
    _check(_syscall("pivot_root", new.encode(), old.encode()), "pivot_root")


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process."""
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def fork_into(flags: int) -> int:
    """Fork with the child in new namespaces; 0 in the child.

    Calls clone(2): fork and unshare would need a second fork to enter the PID namespace. The
    process has one thread, so of what Python does around a fork only the child's part is needed.
    """
    process = _syscall("clone", ctypes.c_ulong(flags | _SIGCHLD), None, None, None, None)
    if process == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    _check(process, "clone")
    return process


def drop_capabilities() -> None:
    """Drop all capabilities of this process."""

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    none = (ctypes.c_uint32 * 6)()
    _check(_syscall("capset", ctypes.byref(Header(_CAPABILITY_VERSION_3, 0)), none), "capset")


def install_filter(program: bytes) -> None:
    """Install a seccomp filter for this thread and its children; it cannot be removed."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    packed = Program(len(program) // 8, program)
    done = _libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(packed), 0, 0)
    _check(done, "prctl seccomp")


def _syscall(name: str, *arguments: object) -> int:
    machine = platform.machine()
    if machine not in _SYSTEM_CALLS:
        raise OSError(f"the sandbox does not support the processor {machine}")
    return int(_libc.syscall(ctypes.c_long(_SYSTEM_CALLS[machine][name]), *arguments))


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
