"""Whether a problem's own answer passes its verifier: one that fails can never be solved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.rewards.exact_match import ExactMatch
from pipelines.rewards.math_answer import MathAnswer
from pipelines.rewards.resolve import resolve_reward
from pipelines.rewards.unit_tests import UnitTests
from pipelines.rewards.verdict import RewardFunction
from pipelines.rewards.workers.pool import ScoringPool, num_processors
from schemas.rewards import CORRECT

if TYPE_CHECKING:
    from pipelines.config import RewardConfig


def gold_solution(reward: RewardFunction, reference: str, solution: str | None) -> str | None:
    """A solution that must be judged correct: the reference stated, or the human's own; else None.

    Args:
        reward: from `resolve_reward`.
        reference: the problem's reference.
        solution: a human solution, if the problem has one.
    """
    if isinstance(reward, MathAnswer | ExactMatch):
        return reward.gold_solution(reference)
    return solution


def reference_passes(reward: RewardFunction, reference: str, solution: str | None) -> bool | None:
    """Whether the problem's own answer is judged correct; None if there is nothing to judge."""
    gold = gold_solution(reward, reference, solution)
    return None if gold is None else reward(gold, reference).verdict == CORRECT


def verify_references(
    config: RewardConfig, problems: Iterable[Mapping[str, Any]], num_workers: int | None = None
) -> list[Mapping[str, Any]]:
    """The problems whose own answer fails the verifier, each judged under the reward's deadline.

    Tests that cannot be read fail whether or not there is a solution to try them on.

    Args:
        config: the reward.
        problems: rows with `reference` and `solution` (the human solution or None).
        num_workers: processes for what takes long; default: this process's processors.

    Raises:
        ConfigError: the reward cannot be used as it is configured.
    """
    reward = resolve_reward(config)
    unreadable, judged, golds = [], [], []
    for problem in problems:
        gold = gold_solution(reward, problem["reference"], problem.get("solution"))
        if isinstance(reward, UnitTests) and not reward.can_read(problem["reference"]):
            unreadable.append(problem)
        elif gold is not None:
            judged.append(problem)
            golds.append((gold, problem["reference"]))
    with ScoringPool(config, num_workers or num_processors()) as pool:
        scored = pool.score(golds)
    return unreadable + [
        problem
        for problem, given in zip(judged, scored, strict=True)
        if given.verdict.verdict != CORRECT
    ]
