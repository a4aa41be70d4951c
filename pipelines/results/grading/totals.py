"""Metrics from marks: points of the whole exam, their share, and the disagreement of graders.

The mark of a problem is the mean over its graders, and over its solutions if it has several.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from pipelines.metrics.bootstrap import Estimate, bootstrap_means, estimate, interval

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row

POINTS = "graded_points"
"""Points of the exam: the sum over problems."""
SHARE = "graded_share"
"""Those points as a share of the exam's maximum."""
DISAGREEMENT = "grader_disagreement"
"""Highest minus lowest mark of a solution as a share of its maximum, averaged over problems."""

METRICS = (POINTS, SHARE, DISAGREEMENT)


def totals(grades: Iterable[Row], num_bootstrap: int, seed: tuple[int, ...]) -> dict[str, Estimate]:
    """The metrics of one suite and policy, each with an interval over problems.

    Args:
        grades: rows of `grades`.
        num_bootstrap: number of bootstrap draws.
        seed: of the bootstrap.

    Returns:
        Metric -> estimate; no disagreement if there is only one grader.
    """
    by_problem: dict[str, dict[str, list[Row]]] = {}
    for row in grades:
        by_problem.setdefault(row["problem_id"], {}).setdefault(row["sample_id"], []).append(row)
    problems = [list(by_problem[name].values()) for name in sorted(by_problem)]
    points = np.array([np.mean([_mean_points(sample) for sample in drawn]) for drawn in problems])
    maxima = np.array([drawn[0][0]["max_points"] for drawn in problems])
    # Points and maximum are resampled together: the share is a ratio of two sums.
    draws = bootstrap_means(np.stack([points, maxima], axis=1), num_bootstrap, seed)
    n, total = len(points), float(points.sum())
    found = {
        POINTS: Estimate.of(total, interval(draws[:, 0] * n), n),
        SHARE: Estimate.of(total / float(maxima.sum()), interval(draws[:, 0] / draws[:, 1]), n),
    }
    spreads = [[_spread(sample) for sample in drawn if len(sample) > 1] for drawn in problems]
    graded_twice = [float(np.mean(spread)) for spread in spreads if spread]
    if graded_twice:
        found[DISAGREEMENT] = estimate(graded_twice, num_bootstrap, seed)
    return found


def _mean_points(marks: list[Row]) -> float:
    return float(np.mean([mark["points"] for mark in marks]))


def _spread(marks: list[Row]) -> float:
    points = [mark["points"] for mark in marks]
    return float(max(points) - min(points)) / float(marks[0]["max_points"])
