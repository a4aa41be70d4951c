"""Paired comparison of two policies: greedy test accuracy on the problems that both answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.metrics.bootstrap import Estimate, paired_difference
from schemas.problems import TEST
from schemas.prompts import GREEDY
from schemas.rewards import CORRECT

if TYPE_CHECKING:
    from pipelines.lake.reader import LakeReader

Scores = Mapping[str, float]
"""Problem -> 1.0 if its greedy test sample is correct, else 0.0."""


def greedy_test_scores(reader: LakeReader, run: str, iteration: int) -> dict[str, float]:
    """The scores of one policy, by the verdicts that its evaluation read."""
    rows = reader.rows(
        f"SELECT s.problem_id, avg(CASE WHEN r.verdict = '{CORRECT}' THEN 1.0 ELSE 0.0 END) AS score "
        "FROM samples s JOIN evaluated_rewards r "
        "ON r.iteration = s.iteration AND r.sample_id = s.sample_id "
        f"WHERE s.purpose = '{TEST}' AND s.decoding = '{GREEDY}' AND s.iteration = {iteration} "
        "GROUP BY s.problem_id",
        run,
    )
    return {row["problem_id"]: row["score"] for row in rows}


def paired_gain(
    base: Scores, final: Scores, num_bootstrap: int, seed: Sequence[int]
) -> Estimate | None:
    """The accuracy of `final` minus that of `base` over shared problems; None if there are none."""
    shared = sorted(base.keys() & final.keys())
    if not shared:
        return None
    return paired_difference(
        [base[problem] for problem in shared],
        [final[problem] for problem in shared],
        num_bootstrap,
        seed,
    )
