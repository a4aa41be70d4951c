"""Running a program against its tests: the verdict is formed in this process, not in the program's."""

from __future__ import annotations

import secrets
import signal
import socket
import time
from dataclasses import replace
from typing import NamedTuple

from pipelines.rewards.programs.outputs import same_lines, same_tokens, same_value
from pipelines.rewards.programs.read_tests import Asserts, Calls, Check, InputOutput, Tests
from pipelines.rewards.programs.solutions import ending_at_return
from pipelines.rewards.sandbox.isolation import Limits
from pipelines.rewards.sandbox.program import OUT_OF_MEMORY, Job
from pipelines.rewards.sandbox.remote_program import ProgramGone, RemoteProgram
from pipelines.rewards.sandbox.sandbox import (
    Sandbox,
    input_file,
    null_device,
    output_file,
    read_output,
)
from pipelines.rewards.sandbox.values import NotPlain, loads
from pipelines.rewards.sandbox.zygote import EXITED, KILLED, LATE, STOPPED, Ended
from schemas.rewards import CORRECT, ERROR, MEMORY, TIMEOUT, WRONG

_MEBIBYTE = 2**20


class Outcome(NamedTuple):
    """A verdict, and what to log if the program did not run to its end."""

    verdict: str
    detail: str | None = None


class Sandboxes(NamedTuple):
    """Where programs run, and where the data set's tests run: never in one process."""

    programs: Sandbox
    tests: Sandbox


def run_tests(sandboxes: Sandboxes, program: str, tests: Tests, limits: Limits) -> Outcome:
    """Run a program against its tests, in sandboxes, up to the first failure.

    Args:
        sandboxes: where program and tests run.
        program: its source.
        tests: from `read_tests`.
        limits: what the program may use; the time is for all tests together.

    Raises:
        StageFailed: a sandbox failed.
    """
    if isinstance(tests, InputOutput):
        return _run_on_inputs(sandboxes.programs, program, tests, limits)
    if isinstance(tests, Calls):
        return _call_function(sandboxes.programs, program, tests, limits)
    if isinstance(tests, Asserts) and tests.together:
        return _run_together(sandboxes.programs, program, tests, limits)
    return _run_assertions(sandboxes, program, tests, limits)


def _run_on_inputs(sandbox: Sandbox, program: str, tests: InputOutput, limits: Limits) -> Outcome:
    """Run a script on every input, each time in a new process."""
    same = same_lines if tests.by_line else same_tokens
    source = ending_at_return(program) if tests.by_line else program
    job = Job("script", source, prelude=tests.by_line)
    deadline = time.monotonic() + limits.seconds
    for given, expected in zip(tests.inputs, tests.outputs, strict=True):
        left = replace(limits, seconds=deadline - time.monotonic())
        if left.seconds <= 0:
            return _too_late(limits)
        with input_file(given.encode()) as stdin, output_file() as stdout:
            sandbox.start(job, left, [stdin, stdout])
            ended = sandbox.finish()
            printed = read_output(stdout, limits.output_mb * _MEBIBYTE)
        if (ended.why, ended.code) != (EXITED, 0):
            return _stopped_early(ended, limits)
        if not same(printed.decode(errors="replace"), expected):
            return Outcome(WRONG)
    return Outcome(CORRECT)


def _call_function(sandbox: Sandbox, program: str, tests: Calls, limits: Limits) -> Outcome:
    """Call a function for every input; the expected values stay in this process."""
    ours, theirs = socket.socketpair()
    with ours, theirs, null_device() as null:
        sandbox.start(Job("calls", program, prelude=True), limits, [null, null, theirs.fileno()])
        try:
            theirs.close()
            outcome = _compare_calls(RemoteProgram(ours.fileno()), tests)
        finally:
            ended = sandbox.stop()
    return outcome or _stopped_early(ended, limits)


def _compare_calls(program: RemoteProgram, tests: Calls) -> Outcome | None:
    """The outcome of all calls; None if the program ended before the last."""
    for arguments, expected in zip(tests.inputs, tests.outputs, strict=True):
        try:
            returned = program.call(tests.name, [_with_integer_keys(each) for each in arguments])
        except ProgramGone:
            return None
        except Exception:  # noqa: BLE001 - the program's exception, raised again here
            return _out_of_memory() if program.raised == "MemoryError" else Outcome(WRONG)
        if not same_value(returned, expected):
            return Outcome(WRONG)
    return Outcome(CORRECT)


def _with_integer_keys(argument: object) -> object:
    """A dictionary with its integer keys, which JSON turned into text; anything else as it is."""
    if isinstance(argument, dict) and all(key.lstrip("-").isdecimal() for key in argument):
        return {int(key): value for key, value in argument.items()}
    return argument


def _run_assertions(
    sandboxes: Sandboxes, program: str, tests: Asserts | Check, limits: Limits
) -> Outcome:
    """Run assertions in a process that calls the program's process."""
    ours, theirs = socket.socketpair()
    with ours, theirs, null_device() as null, output_file() as report:
        sandboxes.programs.start(Job("calls", program), limits, [null, null, theirs.fileno()])
        try:
            job = _assertions("tests", tests)
            sandboxes.tests.start(job, limits, [null, null, ours.fileno(), report])
            ours.close()
            theirs.close()
            tests_ended = sandboxes.tests.finish()
        finally:
            ended = sandboxes.programs.stop()
        written = read_output(report, _MEBIBYTE)
    if LATE in (tests_ended.why, ended.why):
        return _too_late(limits)
    try:
        result = loads(written[4:])  # without the frame's header
    except NotPlain:
        detail = f"the tests ended without a result ({tests_ended.why}, {tests_ended.code})"
        return Outcome(ERROR, detail)
    if result["passed"]:
        return Outcome(CORRECT)
    if result["gone"]:
        return _stopped_early(ended, limits)
    return _out_of_memory() if result["raised"] == "MemoryError" else Outcome(WRONG)


def _run_together(sandbox: Sandbox, program: str, tests: Asserts, limits: Limits) -> Outcome:
    """Run assertions in the program's own interpreter, where they use its objects."""
    nonce = secrets.token_hex(16)
    job = replace(_assertions("together", tests), source=program, nonce=nonce)
    with null_device() as null, output_file() as report:
        sandbox.start(job, limits, [null, null, null, report])
        ended = sandbox.finish()
        passed = read_output(report, 2 * len(nonce)) == nonce.encode()
    if (ended.why, ended.code) == (EXITED, 0):
        return Outcome(CORRECT if passed else WRONG)
    return _stopped_early(ended, limits)


def _assertions(mode: str, tests: Asserts | Check) -> Job:
    if isinstance(tests, Asserts):
        return Job(mode, before=tests.before, tests=tests.tests, functions=tests.functions)
    # The prompt may define functions that the tests use; its own function has no body yet.
    before = f"{tests.prompt}\n    pass\n"
    name = tests.entry_point
    return Job(mode, before=before, tests=tests.test, functions=(name,), candidate=name)


def _stopped_early(ended: Ended, limits: Limits) -> Outcome:
    """The outcome for a program that ended before all tests were done."""
    if ended.why == LATE or ended.code in (-signal.SIGKILL, -signal.SIGXCPU):
        # Nothing inside a PID namespace can kill its first process. If we did not stop it, the
        # kernel did: at the limit on processor time, or out of memory.
        if ended.why == KILLED and ended.seconds < limits.seconds:
            return _out_of_memory()
        return Outcome(WRONG) if ended.why == STOPPED else _too_late(limits)
    return _out_of_memory() if ended.code == OUT_OF_MEMORY else Outcome(WRONG)


def _too_late(limits: Limits) -> Outcome:
    return Outcome(TIMEOUT, f"the program ran longer than {limits.seconds:g} s")


def _out_of_memory() -> Outcome:
    return Outcome(MEMORY, "the program went over the memory limit")
