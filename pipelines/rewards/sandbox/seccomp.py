"""The seccomp filter: which system calls the kernel carries out for a program.

What is not listed in `system_calls` is refused with `ENOSYS`, as a kernel without the call would
(callers then fall back to older calls: the C library to `clone` for `clone3`), and a listed call
with other arguments with `EPERM`. One process's address space is then the program's whole memory.

The filter is written here and not by libseccomp, since that library is not in any Python package
that can be installed with restem: `pyseccomp` loads the distribution's, and where that is missing
there would be no sandbox. A test compares every number in the list with libseccomp's.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

from pipelines.rewards.sandbox import system_calls

EPERM, ENOSYS = 1, 38
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, EQUAL, ABOVE, AT_LEAST, AND, RETURN = 0x20, 0x15, 0x25, 0x35, 0x54, 0x06
"""Instructions: load from the call's data, four tests of what was loaded, and the answer."""
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
_ALL_BITS = 0xFFFFFFFF

Instruction = tuple[int, int, int, int]
"""Code, instructions to skip if the test holds, and if it does not, and a value."""


@lru_cache(maxsize=1)
def filter_program() -> bytes:
    """The filter for this processor, as the kernel reads it.

    Raises:
        OSError: its system calls are not listed.
    """
    return b"".join(struct.pack("HBBI", *line) for line in instructions(platform.machine()))


def instructions(machine: str) -> list[Instruction]:
    """The filter for a processor: BPF instructions over `struct seccomp_data`.

    Raises:
        OSError: its system calls are not listed.
    """
    if machine not in ARCHITECTURES:
        raise OSError(f"no seccomp filter for the processor {machine}")
    column = list(ARCHITECTURES).index(machine)
    lines: list[Instruction] = [
        # Numbers mean other calls on another architecture, of which one processor may have several.
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
        (AT_LEAST, 0, 1, _X32),
        (RETURN, 0, 0, KILL),
    ]
    detached = _ALL_BITS ^ system_calls.THREAD_DETACHED
    for call, argument, mask, values in (
        (system_calls.CLONE, 0, detached, (system_calls.THREAD,)),
        (system_calls.FCNTL, 1, _ALL_BITS, system_calls.FCNTL_COMMANDS),
        (system_calls.IOCTL, 1, _ALL_BITS, system_calls.IOCTL_REQUESTS),
        (system_calls.PRCTL, 0, _ALL_BITS, system_calls.PRCTL_OPTIONS),
        (system_calls.PRLIMIT, 0, _ALL_BITS, system_calls.PRLIMIT_PROCESSES),
        (system_calls.SOCKETPAIR, 0, _ALL_BITS, system_calls.SOCKET_FAMILIES),
    ):
        lines += _with_argument(call[column], argument, mask, values)
    numbers = (pair[column] for pair in system_calls.NUMBERS.values())
    return lines + _search(_ranges(number for number in numbers if number is not None))


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The first and last of each run of successive numbers, in order."""
    ordered = sorted(numbers)
    starts = [n for n, before in zip(ordered, [-2, *ordered], strict=False) if n != before + 1]
    ends = [n for n, after in zip(ordered, [*ordered[1:], -2], strict=True) if after != n + 1]
    return list(zip(starts, ends, strict=True))


def _search(ranges: Sequence[tuple[int, int]]) -> list[Instruction]:
    """Allow the numbers in some ranges, found by halving: the kernel tries each number once."""
    if len(ranges) > 1:
        middle = len(ranges) // 2
        below, above = _search(ranges[:middle]), _search(ranges[middle:])
        return [(AT_LEAST, len(below), 0, ranges[middle][0]), *below, *above]
    ((first, last),) = ranges
    return [
        (AT_LEAST, 0, 1, first),
        (ABOVE, 0, 1, last),
        (RETURN, 0, 0, ERRNO | ENOSYS),
        (RETURN, 0, 0, ALLOW),
    ]


def _with_argument(
    number: int, argument: int, mask: int, values: tuple[int, ...]
) -> list[Instruction]:
    """Allow a call if the low half of one argument is, under a mask, one of some values.

    All these arguments have 32 bits: the kernel ignores the high half, and so does the filter.
    """
    lines: list[Instruction] = [
        (LOAD, 0, 0, ARGUMENTS_AT + 8 * argument),
        (AND, 0, 0, mask),
        *((EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)),
        (RETURN, 0, 0, ERRNO | EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    return [(EQUAL, 0, len(lines), number), *lines]
