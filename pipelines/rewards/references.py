"""Checking that a problem's own answer passes its verifier: if it fails, no solution can pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.rewards.exact_match import ExactMatch
from pipelines.rewards.hendrycks_math import HendrycksMath
from pipelines.rewards.math_answer import MathAnswer
from pipelines.rewards.math_verify_library import MathVerify
from pipelines.rewards.resolve import resolve_reward
from pipelines.rewards.unit_tests import UnitTests
from pipelines.rewards.verdict import RewardFunction
from pipelines.rewards.workers.pool import ScoringPool
from schemas.rewards import CORRECT

if TYPE_CHECKING:
    from pipelines.config import RewardConfig


def gold_solution(reward: RewardFunction, reference: str, solution: str | None) -> str | None:
    """A solution that must be correct: one that states the reference, or else the human solution.

    Args:
        reward: from `resolve_reward`.
        reference: the problem's reference.
        solution: a human solution, if the problem has one.

    Returns:
        None if the reward cannot state a reference and there is no human solution.
    """
    if isinstance(reward, MathAnswer | ExactMatch | MathVerify | HendrycksMath):
        return reward.gold_solution(reference)
    return solution


def failing_references(
    config: RewardConfig, problems: Iterable[Mapping[str, Any]], num_workers: int
) -> list[Mapping[str, Any]]:
    """The problems whose own answer fails the verifier, each scored under the reward's deadline.

    Unit tests that cannot be read fail whether or not there is a solution to run them on.

    Args:
        config: the reward.
        problems: rows with `reference` and `solution` (the human solution or None).
        num_workers: maximum number of worker processes.

    Raises:
        ConfigError: the reward cannot be used as it is configured.
    """
    reward = resolve_reward(config)
    unreadable, scored, pairs = [], [], []
    for problem in problems:
        gold = gold_solution(reward, problem["reference"], problem.get("solution"))
        if isinstance(reward, UnitTests) and not reward.can_read(problem["reference"]):
            unreadable.append(problem)
        elif gold is not None:
            scored.append(problem)
            pairs.append((gold, problem["reference"]))
    with ScoringPool(config, num_workers) as pool:
        verdicts = [given.verdict.verdict for given in pool.score(pairs)]
    failing = [row for row, verdict in zip(scored, verdicts, strict=True) if verdict != CORRECT]
    return unreadable + failing
