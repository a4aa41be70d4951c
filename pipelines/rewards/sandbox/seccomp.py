"""The seccomp filter: system calls that a program may not make.

A solution needs no second process, socket, tracing or namespace. Refusing those (`EPERM`; `ENOSYS`
for `clone3`, so that callers fall back to `clone`) closes most of the kernel's surface, and makes
one process's address space the memory of the whole program. Threads are allowed.
"""

from __future__ import annotations

import platform
import struct
from functools import lru_cache

from pipelines.rewards.sandbox import kernel

_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD = 0x00010000
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENT_AT = 0, 4, 16
_X32 = 0x40000000

_REFUSED = {
    "x86_64": {
        "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "fork": 57,
        "vfork": 58, "execve": 59, "ptrace": 101, "personality": 135, "pivot_root": 155,
        "chroot": 161, "mount": 165, "umount2": 166, "swapon": 167, "sethostname": 170,
        "init_module": 175, "quotactl": 179, "add_key": 248, "request_key": 249, "keyctl": 250,
        "unshare": 272, "perf_event_open": 298, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "finit_module": 313, "bpf": 321, "execveat": 322,
        "userfaultfd": 323, "io_uring_setup": 425, "open_tree": 428, "move_mount": 429,
        "fsopen": 430, "fsmount": 432, "pidfd_getfd": 438, "mount_setattr": 442,
    },
    "aarch64": {
        "socket": 198, "bind": 200, "listen": 201, "accept": 202, "connect": 203,
        "execve": 221, "ptrace": 117, "personality": 92, "pivot_root": 41, "chroot": 51,
        "mount": 40, "umount2": 39, "swapon": 224, "sethostname": 161, "init_module": 105,
        "quotactl": 60, "add_key": 217, "request_key": 218, "keyctl": 219, "unshare": 97,
        "perf_event_open": 241, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "finit_module": 273,
        "bpf": 280, "execveat": 281, "userfaultfd": 282, "io_uring_setup": 425,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432, "pidfd_getfd": 438,
        "mount_setattr": 442,
    },
}  # fmt: skip
_CLONE3 = 435
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


@lru_cache(maxsize=1)
def filter_program() -> bytes:
    """The filter for this processor: BPF instructions over `struct seccomp_data`.

    Raises:
        OSError: its system calls are not listed here.
    """
    machine = platform.machine()
    if machine not in _REFUSED:
        raise OSError(f"no seccomp filter for the processor {machine}")
    lines = [
        _line(_LOAD, value=_ARCH_AT),
        _line(_EQUAL, then=1, value=_ARCHITECTURE[machine]),
        _line(_RETURN, value=_KILL),
        _line(_LOAD, value=_NUMBER_AT),
        _line(_AT_LEAST, otherwise=1, value=_X32),
        _line(_RETURN, value=_KILL),
    ]
    for number in _REFUSED[machine].values():
        lines += [_line(_EQUAL, otherwise=1, value=number), _line(_RETURN, value=_ERRNO | _EPERM)]
    lines += [_line(_EQUAL, otherwise=1, value=_CLONE3), _line(_RETURN, value=_ERRNO | _ENOSYS)]
    lines += [
        _line(_EQUAL, otherwise=3, value=kernel.SYSCALLS[machine]["clone"]),
        _line(_LOAD, value=_ARGUMENT_AT),
        _line(_ANY_BIT, then=1, value=_CLONE_THREAD),
        _line(_RETURN, value=_ERRNO | _EPERM),
        _line(_RETURN, value=_ALLOW),
    ]
    return b"".join(lines)


def _line(code: int, *, then: int = 0, otherwise: int = 0, value: int) -> bytes:
    """One instruction; `then` and `otherwise` are the numbers of instructions that a test skips."""
    return struct.pack("HBBI", code, then, otherwise, value)
