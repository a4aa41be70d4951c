"""Confidence intervals over problems. Pure numpy: no table, no engine.

Every figure is a mean over problems of a value that each problem has, so one bootstrap over
problems gives all intervals, with one exception. If a share has the same value on every problem
(0 of n solved, or n of n), every resample is the same and the bootstrap's interval has no width. Such
a share has Wilson's score interval (1927), as if every problem were one trial. A difference or a mean of
several samples of which one has no variation is put together from the samples' own intervals by the
square-and-add method (Newcombe 1998, "Interval estimation for the difference between independent
proportions").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
_Z = 1.959963984540054
"""The normal distribution's quantile for LEVEL."""


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its interval (95 %), which contains the mean."""

    value: float
    low: float
    high: float
    n: int
    """Number of problems averaged over."""

    @classmethod
    def of(cls, value: float, bounds: tuple[float, float], n: int) -> Estimate:
        """The estimate; bounds that miss the value by a rounding error are moved to it."""
        low, high = bounds
        return cls(value, min(low, value), max(high, value), n)


@dataclass(frozen=True)
class SampleMeans:
    """A mean over problems, and its means over problems drawn with replacement."""

    estimate: Estimate
    means: Floats
    varies: bool
    """False: all problems have the same value, so that the means tell nothing of the interval."""


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


def estimate(
    values: npt.ArrayLike, num_bootstrap: int, seed: Sequence[int], *, share: bool = False
) -> Estimate:
    """The mean of one value per problem, with its interval.

    Args:
        values: one per problem.
        num_bootstrap: number of draws.
        seed: see `bootstrap_means`.
        share: the values are shares, from 0 to 1: their interval has a width even if they are equal.
    """
    return sample_means(values, num_bootstrap, seed, share=share).estimate


def sample_means(
    values: npt.ArrayLike, num_bootstrap: int, seed: Sequence[int], *, share: bool = False
) -> SampleMeans:
    """`estimate`, with the means that `difference` and `mean_of` combine."""
    table = np.asarray(values, dtype=np.float64)
    means = bootstrap_means(table, num_bootstrap, seed)
    value, n = float(table.mean()), len(table)
    varies = bool(table.min() < table.max()) or not share
    bounds = interval(means) if varies else _wilson(value, n)
    return SampleMeans(Estimate.of(value, bounds, n), means, varies)


def difference(first: SampleMeans, second: SampleMeans) -> Estimate:
    """The first mean minus the second, of different problems drawn independently.

    `n` is the first one's number of problems.
    """
    one, other = first.estimate, second.estimate
    value = one.value - other.value
    if first.varies and second.varies:
        return Estimate.of(value, interval(first.means - second.means), one.n)
    low = value - math.hypot(one.value - one.low, other.high - other.value)
    high = value + math.hypot(one.high - one.value, other.value - other.low)
    return Estimate.of(value, (low, high), one.n)


def mean_of(samples: Sequence[SampleMeans]) -> Estimate:
    """The mean of the means of different problems, each with the same weight."""
    parts = [sample.estimate for sample in samples]
    value = float(np.mean([part.value for part in parts]))
    n = sum(part.n for part in parts)
    if all(sample.varies for sample in samples):
        means = np.mean([sample.means for sample in samples], axis=0)
        return Estimate.of(value, interval(means), n)
    low = value - math.hypot(*(part.value - part.low for part in parts)) / len(parts)
    high = value + math.hypot(*(part.high - part.value for part in parts)) / len(parts)
    return Estimate.of(value, (low, high), n)


def paired_difference(
    base: npt.ArrayLike, final: npt.ArrayLike, num_bootstrap: int, seed: Sequence[int]
) -> Estimate:
    """The mean over problems of final minus base, on the same problems in the same order.

    Both are shares. If the difference is the same on every problem, its interval is that of the
    share won minus the share lost.
    """
    before, after = np.asarray(base, dtype=np.float64), np.asarray(final, dtype=np.float64)
    if before.shape != after.shape:
        raise ValueError(f"paired values need the same problems, got {len(before)}, {len(after)}")
    gained = after - before
    if gained.min() < gained.max():
        return estimate(gained, num_bootstrap, seed)
    won = sample_means(np.maximum(gained, 0), num_bootstrap, seed, share=True)
    lost = sample_means(np.maximum(-gained, 0), num_bootstrap, seed, share=True)
    return difference(won, lost)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a share of n trials, inside [0, 1]."""
    square = _Z**2 / n
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / n + square / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)
