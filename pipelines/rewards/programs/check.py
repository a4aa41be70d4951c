"""Running a program against its tests: the verdict is formed here, where the program is not."""

from __future__ import annotations

import secrets
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from pipelines.rewards.programs.outputs import same_lines, same_tokens, same_value
from pipelines.rewards.programs.references import Asserts, Calls, Check, InputOutput
from pipelines.rewards.sandbox.asked import Asked, Gone
from pipelines.rewards.sandbox.program import OUT_OF_MEMORY
from pipelines.rewards.sandbox.sandbox import (
    Ended,
    Limits,
    Sandbox,
    input_file,
    nowhere,
    output_file,
    written,
)
from pipelines.rewards.sandbox.values import NotPlain, loads
from schemas.rewards import CORRECT, ERROR, MEMORY, TIMEOUT, WRONG

_MEBIBYTE = 2**20


class Outcome(NamedTuple):
    """A verdict code, and what to log if the program was not judged to the end."""

    verdict: str
    detail: str | None = None


class Sandboxes(NamedTuple):
    """Where programs run, and where the data set's tests run: never in one process."""

    programs: Sandbox
    tests: Sandbox


class _Running:
    """A started program; how it ended is known once the `with` block is left."""

    def __init__(self) -> None:
        self.ended = Ended("stopped", 0, 0.0, 0.0)


def run_on_inputs(sandboxes: Sandboxes, source: str, tests: InputOutput, limits: Limits) -> Outcome:
    """Run a program on every input, each time in a sandbox of its own, up to the first failure."""
    same = same_lines if tests.by_line else same_tokens
    deadline = time.monotonic() + limits.seconds
    for given, expected in zip(tests.inputs, tests.outputs, strict=True):
        left = replace(limits, seconds=deadline - time.monotonic())
        if left.seconds <= 0:
            return _too_late(limits)
        ended, printed = _run_script(sandboxes.programs, source, given, left, tests.by_line)
        if (ended.why, ended.code) != ("exited", 0):
            return _blame(ended, limits)
        if not same(printed.decode(errors="replace"), expected):
            return Outcome(WRONG)
    return Outcome(CORRECT)


def call_function(sandboxes: Sandboxes, source: str, tests: Calls, limits: Limits) -> Outcome:
    """Ask a program for a value for every input; the expected ones stay here."""
    ours, theirs = socket.socketpair()
    job = {"mode": "calls", "source": source, "prelude": True}
    with ours, theirs, nowhere() as null:
        descriptors = [null, null, theirs.fileno()]
        with _running(sandboxes.programs, job, limits, descriptors) as running:
            theirs.close()
            outcome = _ask(Asked(ours.fileno()), tests)
    return outcome or _blame(running.ended, limits)


def run_tests(sandboxes: Sandboxes, source: str, tests: Asserts | Check, limits: Limits) -> Outcome:
    """Run assertions in a process that asks the program's process for values."""
    job = {"mode": "tests", **_assertions(tests)}
    ours, theirs = socket.socketpair()
    with ours, theirs, nowhere() as null, output_file() as report:
        program = {"mode": "calls", "source": source, "prelude": False}
        its = [null, null, theirs.fileno()]
        with _running(sandboxes.programs, program, limits, its) as running:
            sandboxes.tests.start(job, limits, [null, null, ours.fileno(), report])
            ours.close()
            theirs.close()
            ended = sandboxes.tests.finish()
        return _reported(written(report, _MEBIBYTE), ended, running.ended, limits)


def run_together(
    sandboxes: Sandboxes, source: str, tests: Asserts | Check, limits: Limits
) -> Outcome:
    """Run assertions in the program's own interpreter, where they use its objects."""
    nonce = secrets.token_hex(16)
    job = {"mode": "together", "source": source, "prelude": False, "nonce": nonce}
    with nowhere() as null, output_file() as report:
        sandboxes.programs.start({**job, **_assertions(tests)}, limits, [null, null, null, report])
        ended = sandboxes.programs.finish()
        passed = written(report, 2 * len(nonce)) == nonce.encode()
    if (ended.why, ended.code) == ("exited", 0):
        return Outcome(CORRECT if passed else WRONG)
    return _blame(ended, limits)


def _run_script(
    sandbox: Sandbox, source: str, given: str, limits: Limits, prelude: bool
) -> tuple[Ended, bytes]:
    job = {"mode": "script", "source": source, "prelude": prelude}
    with input_file(given.encode()) as stdin, output_file() as stdout:
        sandbox.start(job, limits, [stdin, stdout])
        ended = sandbox.finish()
        return ended, written(stdout, limits.output_mb * _MEBIBYTE)


def _ask(asked: Asked, tests: Calls) -> Outcome | None:
    """The outcome of every call; None if the program ended."""
    for arguments, expected in zip(tests.inputs, tests.outputs, strict=True):
        try:
            returned = asked.call(tests.name, _with_integer_keys(arguments))
        except Gone:
            return None
        except Exception:  # noqa: BLE001 - the program's own, made anew here
            return _out_of_memory() if asked.raised == "MemoryError" else Outcome(WRONG)
        if not same_value(returned, expected):
            return Outcome(WRONG)
    return Outcome(CORRECT)


def _with_integer_keys(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """JSON made text of a dictionary's keys; APPS makes integers of them again."""
    return tuple(
        {int(key): value for key, value in argument.items()}
        if isinstance(argument, dict) and all(key.lstrip("-").isdecimal() for key in argument)
        else argument
        for argument in arguments
    )


def _assertions(tests: Asserts | Check) -> dict[str, Any]:
    if isinstance(tests, Check):
        # The prompt may define functions that the tests use; its own function has no body yet.
        before = f"{tests.prompt}\n    pass\n"
        return {
            "before": before,
            "tests": tests.test,
            "functions": [tests.entry_point],
            "candidate": tests.entry_point,
        }
    return {
        "before": tests.before,
        "tests": tests.tests,
        "functions": list(tests.functions),
        "candidate": None,
    }


def _reported(report: bytes, tests: Ended, program: Ended, limits: Limits) -> Outcome:
    if tests.why == "late" or program.why == "late":
        return _too_late(limits)
    try:
        result = loads(report[4:])
    except NotPlain:
        return Outcome(ERROR, f"the tests ended without a result ({tests.why}, {tests.code})")
    if result["passed"]:
        return Outcome(CORRECT)
    if result["gone"]:
        return _blame(program, limits)
    return _out_of_memory() if result["raised"] == "MemoryError" else Outcome(WRONG)


def _blame(ended: Ended, limits: Limits) -> Outcome:
    """The verdict on a program that ended before it was judged to the end."""
    if ended.why == "late" or ended.code in (-signal.SIGKILL, -signal.SIGXCPU):
        # Nobody kills the first process of a PID namespace from inside: if not `stopped` by us,
        # it was the kernel, at the limit on processor time or for want of memory.
        if ended.why == "killed" and ended.seconds < limits.seconds:
            return _out_of_memory()
        return Outcome(WRONG) if ended.why == "stopped" else _too_late(limits)
    return _out_of_memory() if ended.code == OUT_OF_MEMORY else Outcome(WRONG)


def _too_late(limits: Limits) -> Outcome:
    return Outcome(TIMEOUT, f"the program ran longer than {limits.seconds:g} s")


def _out_of_memory() -> Outcome:
    return Outcome(MEMORY, "the program went over the memory limit")


@contextmanager
def _running(
    sandbox: Sandbox, job: dict[str, Any], limits: Limits, descriptors: Sequence[int]
) -> Iterator[_Running]:
    running = _Running()
    sandbox.start(job, limits, descriptors)
    try:
        yield running
    finally:
        sandbox.stop()
        running.ended = sandbox.finish()
