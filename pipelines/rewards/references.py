"""Checking that a problem's own answer passes its verifier: if it fails, no solution can pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.rewards.exact_match import ExactMatch
from pipelines.rewards.hendrycks_math import HendrycksMath
from pipelines.rewards.math_answer import MathAnswer
from pipelines.rewards.math_verify_library import MathVerify
from pipelines.rewards.resolve import resolve_reward
from pipelines.rewards.unit_tests import UnitTests
from pipelines.rewards.verdict import RewardFunction, Verdict
from pipelines.rewards.workers.pool import ScoringPool
from schemas.rewards import CORRECT

if TYPE_CHECKING:
    from pipelines.config import RewardConfig


Problem = tuple[str, Sequence[str]]
"""A reference and the human solutions of its problem."""


def gold_solutions(reward: RewardFunction, reference: str, solutions: Sequence[str]) -> list[str]:
    """Solutions of which one must be correct: one that states the reference, or else the human ones.

    Args:
        reward: from `resolve_reward`.
        reference: the problem's reference.
        solutions: human solutions, possibly none.
    """
    if isinstance(reward, MathAnswer | ExactMatch | MathVerify | HendrycksMath):
        return [reward.gold_solution(reference)]
    return list(solutions)


@dataclass(frozen=True)
class OwnAnswer:
    """Whether a problem's own answer passes its verifier."""

    refused: str | None = None
    """Why it fails; None if it passes, or if there is none to try."""
    passed: str | None = None
    """The solution that passed."""


def own_answers(
    config: RewardConfig, problems: Sequence[Problem], num_workers: int
) -> list[OwnAnswer]:
    """Score the own answer of each problem: its reference as a solution, or else its human solutions.

    Human solutions are tried one after the other until one passes, each under the reward's deadline.
    Unit tests that cannot be read fail whether or not there is a solution to run them on.

    Args:
        config: the reward.
        problems: the references, each with its human solutions.
        num_workers: maximum number of worker processes.

    Raises:
        ConfigError: the reward cannot be used as it is configured.
    """
    reward = resolve_reward(config)
    found = [OwnAnswer() for _ in problems]
    untried: dict[int, list[str]] = {}
    for number, (reference, solutions) in enumerate(problems):
        if isinstance(reward, UnitTests) and not reward.can_read(reference):
            found[number] = OwnAnswer("its tests cannot be read")
        else:
            untried[number] = gold_solutions(reward, reference, solutions)
    with ScoringPool(config, num_workers) as pool:
        while untried := {number: left for number, left in untried.items() if left}:
            tried = {number: left.pop(0) for number, left in untried.items()}
            scored = pool.score([(text, problems[number][0]) for number, text in tried.items()])
            for (number, text), given in zip(tried.items(), scored, strict=True):
                if given.verdict.verdict == CORRECT:
                    found[number] = OwnAnswer(passed=text)
                    untried[number].clear()
                else:
                    found[number] = OwnAnswer(_reason(given.verdict))
    return found


def _reason(verdict: Verdict) -> str:
    detail = f" ({verdict.detail})" if verdict.detail else ""
    return f"its own answer gets the verdict {verdict.verdict}{detail}"
