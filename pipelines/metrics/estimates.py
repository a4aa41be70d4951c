"""What is said of a policy: pass@k, maj@k, and how sure it is, from counts a problem.

Everything here is a mean over problems of a value a problem has, so that one bootstrap over
problems gives every interval. Pure numpy: no table, no engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its bootstrap interval (95 %, percentile)."""

    value: float
    low: float
    high: float
    n: int
    """Problems averaged over."""


@dataclass(frozen=True)
class Answer:
    """One answer that a problem's samples gave.

    `credit` is the share of those samples that were judged correct: 0 or 1 unless the verifier
    looks at more than the answer.
    """

    votes: int
    credit: float


def pass_at_k(num_samples: npt.ArrayLike, num_correct: npt.ArrayLike, k: int) -> Floats:
    """The chance that at least one of k samples is correct, a problem: 1 - C(n-c, k) / C(n, k).

    The unbiased estimator of Chen et al. (2021, "Evaluating Large Language Models Trained on
    Code"), as a product of k factors because the binomials overflow.

    Args:
        num_samples: n, samples drawn, a problem.
        num_correct: c, samples judged correct, a problem.
        k: samples that the metric allows.

    Raises:
        ValueError: k is below 1 or above the samples drawn for a problem.
    """
    n, c = np.broadcast_arrays(np.asarray(num_samples), np.asarray(num_correct))
    _check_k(k, int(n.min()) if n.size else k)
    j = np.arange(k)
    miss = (n[..., None] - c[..., None] - j) / (n[..., None] - j)
    return np.asarray(1.0 - np.prod(np.maximum(miss, 0.0), axis=-1), dtype=np.float64)


def maj_at_k(num_samples: int, answers: Iterable[Answer], k: int) -> float:
    """The expected credit of the majority answer among k of a problem's n samples.

    Exact over all C(n, k) subsets, hence unbiased for k < n and the plain vote for k = n. Answers
    that tie share the vote evenly. Samples without an answer do not vote; k samples without any
    vote earn 0.

    Args:
        num_samples: n, samples drawn, those without an answer included.
        answers: the answers they gave.
        k: samples that vote.

    Raises:
        ValueError: k is below 1 or above n.
    """
    _check_k(k, num_samples)
    answers = list(answers)
    abstain = num_samples - sum(answer.votes for answer in answers)
    total = 0.0
    for place, answer in enumerate(answers):
        if answer.credit > 0:
            others = sorted(a.votes for i, a in enumerate(answers) if i != place)
            total += answer.credit * _wins(answer.votes, tuple(others), abstain, k)
    return total


@lru_cache(maxsize=100_000)
def _wins(votes: int, others: tuple[int, ...], abstain: int, k: int) -> float:
    """The chance that an answer of so many votes wins among k samples, a tie of t counted 1/t."""
    n = votes + sum(others) + abstain
    ways = sum(
        math.comb(votes, v) * _ways_to_lose(others, abstain, v, k - v)
        for v in range(1, min(votes, k) + 1)
    )
    return float(ways / math.comb(n, k))


def _ways_to_lose(others: tuple[int, ...], abstain: int, v: int, rest: int) -> float:
    """Ways to draw `rest` samples so that no other answer has over v; t that have v count 1/(t+1).

    ways[t, s] counts the draws of s samples with t answers at v votes: a product of one polynomial
    an answer, built up answer by answer.
    """
    ways = np.zeros((rest // v + 1, rest + 1))
    ways[0] = [math.comb(abstain, s) for s in range(rest + 1)]
    for votes in others:
        grown = ways.copy()
        for u in range(1, min(votes, v - 1, rest) + 1):
            grown[:, u:] += math.comb(votes, u) * ways[:, :-u]
        if votes >= v and rest >= v:
            grown[1:, v:] += math.comb(votes, v) * ways[:-1, :-v]
        ways = grown
    return float(ways[:, rest] @ (1.0 / np.arange(1, len(ways) + 1)))


def bootstrap_means(values: npt.ArrayLike, num_bootstrap: int, seed: Sequence[int]) -> Floats:
    """Means over problems drawn with replacement.

    Args:
        values: one row a problem; further axes (metrics) are resampled together.
        num_bootstrap: draws.
        seed: the same seed and number of problems give the same draws of problems, so metrics of
            the same problems stay paired across calls.

    Returns:
        One mean a draw, shape (num_bootstrap, *values.shape[1:]).
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


def interval(draws: Floats) -> tuple[Any, Any]:
    """The percentile interval of bootstrap draws, along their first axis."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return low, high


def estimate(values: npt.ArrayLike, num_bootstrap: int, seed: Sequence[int]) -> Estimate:
    """The mean of one value a problem, with its interval."""
    table = np.asarray(values, dtype=np.float64)
    low, high = interval(bootstrap_means(table, num_bootstrap, seed))
    return Estimate(float(table.mean()), float(low), float(high), len(table))


def paired_difference(
    base: npt.ArrayLike, final: npt.ArrayLike, num_bootstrap: int, seed: Sequence[int]
) -> Estimate:
    """The mean over problems of final minus base, on the same problems in the same order."""
    before, after = np.asarray(base, dtype=np.float64), np.asarray(final, dtype=np.float64)
    if before.shape != after.shape:
        raise ValueError(f"paired values need the same problems, got {len(before)}, {len(after)}")
    return estimate(after - before, num_bootstrap, seed)


def _check_k(k: int, num_samples: int) -> None:
    if not 1 <= k <= num_samples:
        raise ValueError(f"k must be between 1 and the {num_samples} samples drawn, got {k}")
