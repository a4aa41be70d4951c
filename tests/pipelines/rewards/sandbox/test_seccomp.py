import ctypes
import ctypes.util

import pytest

from pipelines.rewards.sandbox import system_calls
from pipelines.rewards.sandbox.seccomp import (
    ABOVE,
    ALLOW,
    AND,
    ARCHITECTURE_AT,
    ARCHITECTURES,
    ARGUMENTS_AT,
    AT_LEAST,
    ENOSYS,
    EPERM,
    EQUAL,
    ERRNO,
    KILL,
    LOAD,
    NUMBER_AT,
    instructions,
)

MACHINES = list(ARCHITECTURES)
COLUMNS = list(enumerate(MACHINES))
INTEL_32_BIT = 0x40000003
WITH_ARGUMENTS = {
    "clone": system_calls.CLONE,
    "fcntl": system_calls.FCNTL,
    "ioctl": system_calls.IOCTL,
    "prctl": system_calls.PRCTL,
    "prlimit64": system_calls.PRLIMIT,
    "socketpair": system_calls.SOCKETPAIR,
}


def answer(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers to a call, as the kernel would run it."""
    data = {
        NUMBER_AT: number,
        ARCHITECTURE_AT: ARCHITECTURES[machine] if architecture is None else architecture,
    } | {ARGUMENTS_AT + 8 * index: value & 0xFFFFFFFF for index, value in enumerate(arguments)}
    lines, at, loaded = instructions(machine), 0, 0
    while True:
        code, then, otherwise, value = lines[at]
        at += 1
        if code == LOAD:
            loaded = data[value]
        elif code == AND:
            loaded &= value
        elif code == EQUAL:
            at += then if loaded == value else otherwise
        elif code == ABOVE:
            at += then if loaded > value else otherwise
        elif code == AT_LEAST:
            at += then if loaded >= value else otherwise
        else:
            return value


@pytest.mark.parametrize(("column", "machine"), COLUMNS)
def test_listed_calls_are_allowed_and_no_others(column: int, machine: str) -> None:
    listed = {pair[column] for pair in system_calls.NUMBERS.values()}
    by_argument = {pair[column] for pair in WITH_ARGUMENTS.values()}
    for number in set(range(1000)) - by_argument:
        expected = ALLOW if number in listed else ERRNO | ENOSYS
        assert answer(machine, number) == expected, number


@pytest.mark.parametrize(("column", "machine"), COLUMNS)
def test_arguments_decide_the_other_calls(column: int, machine: str) -> None:
    number = {name: pair[column] for name, pair in WITH_ARGUMENTS.items()}
    thread = system_calls.THREAD
    for flags, expected in (
        (thread, ALLOW),
        (thread | system_calls.THREAD_DETACHED, ALLOW),
        (17, ERRNO | EPERM),  # a process
        (thread & ~0x400, ERRNO | EPERM),  # a thread with descriptors of its own
        (thread | 0x10000000, ERRNO | EPERM),  # in a new namespace
    ):
        assert answer(machine, number["clone"], flags) == expected, hex(flags)
    for name, place, good, bad in (
        ("fcntl", 1, system_calls.FCNTL_COMMANDS, (5, 6, 7, 8, 10, 37, 1024, 1031, 1033)),
        ("ioctl", 1, system_calls.IOCTL_REQUESTS, (0x5412, 0x8933, 0x40045431)),
        ("prctl", 0, system_calls.PRCTL_OPTIONS, (1, 4, 22, 35, 38)),
        ("prlimit64", 0, (0,), (1, 2, -1)),
        ("socketpair", 0, (1,), (2, 16, 17, 40)),
    ):
        for value in good:
            assert answer(machine, number[name], *[0] * place, value) == ALLOW, (name, value)
        for value in bad:
            assert answer(machine, number[name], *[0] * place, value) == ERRNO | EPERM, name


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_of_another_architecture_ends_the_program(machine: str) -> None:
    assert answer(machine, 1, architecture=INTEL_32_BIT) == KILL
    assert answer(machine, 0x40000000 + 39) == KILL


@pytest.mark.parametrize(("column", "machine"), COLUMNS)
def test_the_numbers_are_those_of_libseccomp(column: int, machine: str) -> None:
    found = ctypes.util.find_library("seccomp")
    if found is None:
        pytest.skip("libseccomp is not installed")
    number_of = ctypes.CDLL(found).seccomp_syscall_resolve_name_arch
    architecture = ctypes.c_uint32(ARCHITECTURES[machine])
    for name, numbers in (system_calls.NUMBERS | WITH_ARGUMENTS).items():
        theirs = number_of(architecture, name.encode())
        assert numbers[column] == (theirs if theirs >= 0 else None), name


def test_a_processor_that_is_not_listed_has_no_filter() -> None:
    with pytest.raises(OSError, match="processor riscv64"):
        instructions("riscv64")
