"""What marks come to: points of the whole exam, their share, and how far the graders agree.

A problem's mark is the mean over its graders, and over its solutions if it has several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipelines.metrics.estimates import Estimate, Floats, bootstrap_means, estimate, interval

POINTS = "graded_points"
"""Points of the exam: the sum over problems."""
SHARE = "graded_share"
"""Those points as a share of the exam's maximum."""
DISAGREEMENT = "grader_disagreement"
"""Highest minus lowest mark of a solution as a share of its maximum, averaged over problems."""

METRICS = (POINTS, SHARE, DISAGREEMENT)

Row = Mapping[str, Any]


def totals(grades: Iterable[Row], num_bootstrap: int, seed: tuple[int, ...]) -> dict[str, Estimate]:
    """The metrics of one suite and policy, each with an interval over problems.

    Args:
        grades: rows of `grades`.
        num_bootstrap: draws of the bootstrap over problems.
        seed: of the bootstrap.

    Returns:
        Metric -> estimate; no disagreement where one grader alone marked.
    """
    by_problem: dict[str, dict[str, list[Row]]] = {}
    for row in grades:
        by_problem.setdefault(row["problem_id"], {}).setdefault(row["sample_id"], []).append(row)
    problems = [list(by_problem[name].values()) for name in sorted(by_problem)]
    points = np.array([np.mean([_mean(sample) for sample in drawn]) for drawn in problems])
    worth = np.array([drawn[0][0]["max_points"] for drawn in problems])
    found = _points_and_share(points, worth, num_bootstrap, seed)
    spreads = [[_spread(sample) for sample in drawn if len(sample) > 1] for drawn in problems]
    judged_twice = [np.mean(spread) for spread in spreads if spread]
    if judged_twice:
        apart = estimate(judged_twice, num_bootstrap, seed)
        found[DISAGREEMENT] = _estimate(apart.value, (apart.low, apart.high), apart.n)
    return found


def _points_and_share(
    points: Floats, worth: Floats, num_bootstrap: int, seed: tuple[int, ...]
) -> dict[str, Estimate]:
    n = len(points)
    # Points and maximum are resampled together: the share is a ratio of two sums.
    draws = bootstrap_means(np.stack([points, worth], axis=1), num_bootstrap, seed)
    total, most = float(points.sum()), float(worth.sum())
    return {
        POINTS: _estimate(total, interval(draws[:, 0] * n), n),
        SHARE: _estimate(total / most, interval(draws[:, 0] / draws[:, 1]), n),
    }


def _estimate(value: float, bounds: tuple[float, float], n: int) -> Estimate:
    """With bounds that hold the value: equal marks leave an interval of rounding errors only."""
    low, high = (float(bound) for bound in bounds)
    return Estimate(value, min(low, value), max(high, value), n)


def _mean(sample: list[Row]) -> float:
    return float(np.mean([mark["points"] for mark in sample]))


def _spread(sample: list[Row]) -> float:
    marks = [mark["points"] for mark in sample]
    return float(max(marks) - min(marks)) / float(sample[0]["max_points"])
