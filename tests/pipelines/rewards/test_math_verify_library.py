"""math-verify, as its users call it."""

from __future__ import annotations

import pytest

from pipelines.config import RewardConfig
from pipelines.rewards.math_verify_library import MathVerify
from pipelines.rewards.workers.pool import ScoringPool


@pytest.mark.parametrize(
    ("solution", "reference", "verdict"),
    [
        (r"\boxed{\frac{1}{2}}", "0.5", "correct"),
        (r"\boxed{119 + 1}", "120", "correct"),  # it does not ask for the sum to be worked out
        ("so it is 120", "120", "correct"),  # nor for a box
        (r"\boxed{3} and \boxed{4}", "3, 4", "correct"),
        (r"\boxed{121}", "120", "wrong"),
        ("", "120", "no_answer"),
        (r"\boxed{1}", " ", "error"),
    ],
)
def test_verdicts_are_the_library_s(solution: str, reference: str, verdict: str) -> None:
    assert MathVerify()(solution, reference).verdict == verdict


def test_it_is_scored_in_workers_that_are_killed_at_the_deadline() -> None:
    config = RewardConfig(function="math_verify", timeout_seconds=2)
    hangs = r"\boxed{" + "9^" * 8 + "9}"
    with ScoringPool(config, 1) as pool:
        first, second = pool.score([(hangs, "1"), (r"\boxed{2}", "2")])
    assert first.verdict.reward == 0.0
    assert second.verdict.verdict == "correct"
