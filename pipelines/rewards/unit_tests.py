"""`unit_tests`: whether the solution's program passes the reference's tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.errors import ConfigError, InputError
from pipelines.rewards.programs.read_tests import Asserts, Calls, Check, Tests, read_tests
from pipelines.rewards.programs.run_tests import Sandboxes, run_tests
from pipelines.rewards.programs.solutions import complete_prompt, find_program, parses
from pipelines.rewards.sandbox.isolation import Limits
from pipelines.rewards.sandbox.launch import AUTO, choose
from pipelines.rewards.sandbox.sandbox import Sandbox
from pipelines.rewards.verdict import Verdict
from schemas.rewards import CORRECT, ERROR, NO_ANSWER, WRONG

VERSION = "1"
"""Increment it with every change that can change a verdict: it is part of the verifier version."""

_PROGRAMS_SHARE = 0.9
"""The program's share of the time for a verdict, so that a late program does not cost its worker."""


@dataclass(frozen=True)
class UnitTests:
    """The reward of a programming problem: 1 if the program passes every test, else 0.

    Attributes:
        limits: what a program may use; the time is for all of its tests together.
        sandboxes: where programs and tests run; started when first used.
        challenge_tests: whether MBPP's `challenge_test_list` must pass too.
    """

    limits: Limits
    sandboxes: Sandboxes = field(compare=False)
    challenge_tests: bool = False

    def __call__(self, solution: str, reference: str) -> Verdict:
        """Score a solution. A reference that cannot be read is an `error` that names the field."""
        try:
            tests = read_tests(reference, self.challenge_tests)
        except InputError as error:
            return Verdict(0.0, ERROR, detail=str(error))
        program = _program(solution, tests)
        if program is None:
            return Verdict(0.0, NO_ANSWER)
        if not parses(program):
            return Verdict(0.0, WRONG, program)
        outcome = run_tests(self.sandboxes, program, tests, self.limits)
        reward = float(outcome.verdict == CORRECT)
        return Verdict(reward, outcome.verdict, program, outcome.detail)

    def can_read(self, reference: str) -> bool:
        """Whether the tests of a reference can be read."""
        try:
            read_tests(reference, self.challenge_tests)
        except InputError:
            return False
        return True

    def warm_up(self) -> None:
        """Start the sandboxes, so that their start does not count as a solution's time."""
        check = Check(prompt="def f():", test="def check(f):\n    f()", entry_point="f")
        run_tests(self.sandboxes, "def f(): pass", check, self.limits)

    def close(self) -> None:
        """End the sandboxes."""
        for sandbox in self.sandboxes:
            sandbox.close()


def unit_tests(
    *,
    sandbox: str = AUTO,
    timeout_seconds: float = 5.0,
    memory_limit_mb: int = 1024,
    challenge_tests: bool = False,
) -> UnitTests:
    """The reward for `reward.options`.

    Args:
        sandbox: `auto` (bubblewrap, else namespaces), `bubblewrap`, `namespaces`, or `none`.
        timeout_seconds: longest time for a verdict; default: `reward.timeout_seconds`.
        memory_limit_mb: address space of a program; default: `reward.memory_limit_mb`.
        challenge_tests: whether MBPP's `challenge_test_list` must pass too.

    Raises:
        ConfigError: an option breaks its rule.
        MachineError: this kind of sandbox does not work on this machine.
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
