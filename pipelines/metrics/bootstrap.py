"""Bootstrap confidence intervals over problems. Pure numpy: no table, no engine.

Every figure is a mean over problems of a value that each problem has, so one bootstrap over
problems gives all intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its bootstrap interval (95 %, percentile)."""

    value: float
    low: float
    high: float
    n: int
    """Number of problems averaged over."""


def bootstrap_means(values: npt.ArrayLike, num_bootstrap: int, seed: Sequence[int]) -> Floats:
    """Means over problems drawn with replacement.

    Args:
        values: one row per problem; further axes (metrics) are resampled together.
        num_bootstrap: number of draws.
        seed: the same seed and number of problems give the same draws of problems, so metrics of
            the same problems stay paired across calls.

    Returns:
        One mean per draw, shape (num_bootstrap, *values.shape[1:]).
    """
    table = np.asarray(values, dtype=np.float64)
    n = len(table)
    if n == 0:
        raise ValueError("a bootstrap needs at least one problem, got none")
    random = np.random.default_rng(seed)
    means = np.empty((num_bootstrap, *table.shape[1:]))
    # One draw at a time: a million problems times a thousand draws do not fit in memory.
    for draw in range(num_bootstrap):
        counts = np.bincount(random.integers(0, n, n), minlength=n)
        means[draw] = counts @ table / n
    return means


def interval(draws: Floats) -> tuple[float, float]:
    """The percentile interval of bootstrap draws of one metric."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def estimate(values: npt.ArrayLike, num_bootstrap: int, seed: Sequence[int]) -> Estimate:
    """The mean of one value per problem, with its interval."""
    table = np.asarray(values, dtype=np.float64)
    low, high = interval(bootstrap_means(table, num_bootstrap, seed))
    return Estimate(float(table.mean()), low, high, len(table))


def paired_difference(
    base: npt.ArrayLike, final: npt.ArrayLike, num_bootstrap: int, seed: Sequence[int]
) -> Estimate:
    """The mean over problems of final minus base, on the same problems in the same order."""
    before, after = np.asarray(base, dtype=np.float64), np.asarray(final, dtype=np.float64)
    if before.shape != after.shape:
        raise ValueError(f"paired values need the same problems, got {len(before)}, {len(after)}")
    return estimate(after - before, num_bootstrap, seed)
