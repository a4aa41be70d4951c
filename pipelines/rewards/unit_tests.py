"""`unit_tests`: does the solution's program pass the reference's tests?"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.errors import ConfigError, InputError
from pipelines.rewards.programs.check import (
    Outcome,
    Sandboxes,
    call_function,
    run_on_inputs,
    run_tests,
    run_together,
)
from pipelines.rewards.programs.references import (
    Asserts,
    Calls,
    Check,
    InputOutput,
    Tests,
    read_tests,
)
from pipelines.rewards.programs.solutions import (
    complete_prompt,
    ending_at_return,
    find_program,
    parses,
)
from pipelines.rewards.sandbox.launch import AUTO, choose
from pipelines.rewards.sandbox.sandbox import Limits, Sandbox
from pipelines.rewards.verdict import Verdict
from schemas.rewards import CORRECT, ERROR, NO_ANSWER, WRONG

VERSION = "1"
"""Raise it with every change that can change a verdict: it tells stored verdicts apart."""

_PROGRAMS_SHARE = 0.9
"""Of the time for a verdict, what the program gets: a late program must not cost its worker."""


@dataclass(frozen=True)
class UnitTests:
    """The reward of a programming problem: 1 if the program passes every test, else 0.

    Attributes:
        limits: what a program may use; the time is for all of its tests together.
        sandboxes: where programs and tests run; started when first used.
        challenge_tests: whether MBPP's `challenge_test_list` has to pass too.
    """

    limits: Limits
    sandboxes: Sandboxes = field(compare=False)
    challenge_tests: bool = False

    def __call__(self, solution: str, reference: str) -> Verdict:
        """Judge a solution. A reference that cannot be read is an `error` that names the field."""
        try:
            tests = self.read(reference)
        except InputError as error:
            return Verdict(0.0, ERROR, detail=str(error))
        program = _program(solution, tests)
        if program is None:
            return Verdict(0.0, NO_ANSWER)
        outcome = self._run(program, tests) if parses(program) else Outcome(WRONG)
        reward = float(outcome.verdict == CORRECT)
        return Verdict(reward, outcome.verdict, program, outcome.detail)

    def read(self, reference: str) -> Tests:
        """The tests of a reference.

        Raises:
            InputError: a field breaks its rule.
        """
        return read_tests(reference, self.challenge_tests)

    def can_read(self, reference: str) -> bool:
        """Whether a reference holds tests."""
        try:
            self.read(reference)
        except InputError:
            return False
        return True

    def warm_up(self) -> None:
        """Start the sandboxes, so that no solution's time pays for it."""
        check = {"prompt": "def f():", "test": "def check(f):\n    f()", "entry_point": "f"}
        run_tests(self.sandboxes, "def f(): pass", Check(**check), self.limits)

    def close(self) -> None:
        """End the sandboxes."""
        for sandbox in self.sandboxes:
            sandbox.close()

    def _run(self, program: str, tests: Tests) -> Outcome:
        if isinstance(tests, InputOutput):
            program = ending_at_return(program) if tests.by_line else program
            return run_on_inputs(self.sandboxes, program, tests, self.limits)
        if isinstance(tests, Calls):
            return call_function(self.sandboxes, program, tests, self.limits)
        if isinstance(tests, Asserts) and tests.together:
            return run_together(self.sandboxes, program, tests, self.limits)
        return run_tests(self.sandboxes, program, tests, self.limits)


def unit_tests(
    *,
    sandbox: str = AUTO,
    timeout_seconds: float = 5.0,
    memory_limit_mb: int = 1024,
    challenge_tests: bool = False,
) -> UnitTests:
    """The reward for `reward.options`.

    Args:
        sandbox: `auto` (bubblewrap, else Linux namespaces), one of the two, or `none`: no isolation.
        timeout_seconds: longest time for a verdict; default: `reward.timeout_seconds`.
        memory_limit_mb: address space of a program; default: `reward.memory_limit_mb`.
        challenge_tests: use MBPP's `challenge_test_list` too.

    Raises:
        ConfigError: an option breaks its rule.
        MachineError: the sandbox asked for does not work on this machine.
    """
    if not 0 < timeout_seconds < float("inf"):
        raise ConfigError(f"reward.options.timeout_seconds must be > 0, got {timeout_seconds}")
    if memory_limit_mb < 64:
        raise ConfigError(f"reward.options.memory_limit_mb must be >= 64, got {memory_limit_mb}")
    kind = choose(sandbox)
    limits = Limits(seconds=_PROGRAMS_SHARE * timeout_seconds, memory_mb=memory_limit_mb)
    return UnitTests(limits, Sandboxes(Sandbox(kind), Sandbox(kind)), challenge_tests)


def _program(solution: str, tests: Tests) -> str | None:
    if isinstance(tests, Check):
        return complete_prompt(tests.prompt, solution, tests.entry_point)
    if isinstance(tests, Calls):
        return find_program(solution, tests.name)
    if isinstance(tests, Asserts) and tests.functions:
        return find_program(solution, tests.functions[0])
    return find_program(solution)
