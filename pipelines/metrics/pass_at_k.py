"""Unbiased estimators of pass@k and maj@k from per-problem counts. Pure numpy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class AnswerVotes:
    """One of the answers that a problem's samples gave.

    `votes` is the number of samples that gave it. `credit` is the share of those that were scored
    correct: 0 or 1 unless the verifier looks at more than the answer.
    """

    votes: int
    credit: float


def pass_at_k(
    num_samples: npt.ArrayLike, num_correct: npt.ArrayLike, k: int
) -> npt.NDArray[np.float64]:
    """Per problem, the chance that at least one of k samples is correct: 1 - C(n-c, k) / C(n, k).

    The unbiased estimator of Chen et al. (2021, "Evaluating Large Language Models Trained on
    Code"), as a product of k factors because the binomials overflow.

    Args:
        num_samples: n, samples drawn per problem.
        num_correct: c, samples scored correct per problem.
        k: samples that the metric allows.

    Raises:
        ValueError: k is below 1 or above the samples drawn for a problem.
    """
    n, c = np.broadcast_arrays(np.asarray(num_samples), np.asarray(num_correct))
    _check_k(k, int(n.min()) if n.size else k)
    j = np.arange(k)
    miss = (n[..., None] - c[..., None] - j) / (n[..., None] - j)
    return np.asarray(1.0 - np.prod(np.maximum(miss, 0.0), axis=-1), dtype=np.float64)


def maj_at_k(num_samples: int, answers: Iterable[AnswerVotes], k: int) -> float:
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
            total += answer.credit * _win_probability(answer.votes, tuple(others), abstain, k)
    return min(total, 1.0)  # a sum of probabilities may be above 1 by a rounding error


@lru_cache(maxsize=100_000)
def _win_probability(votes: int, others: tuple[int, ...], abstain: int, k: int) -> float:
    """The chance that an answer with this many votes wins among k samples; a tie of t counts 1/t."""
    n = votes + sum(others) + abstain
    ways = sum(
        math.comb(votes, v) * _ways_without_more(others, abstain, v, k - v)
        for v in range(1, min(votes, k) + 1)
    )
    return float(ways / math.comb(n, k))


def _ways_without_more(others: tuple[int, ...], abstain: int, v: int, rest: int) -> float:
    """Number of draws of `rest` samples in which no other answer has more than v votes.

    A draw in which t others have exactly v votes counts 1/(t+1). ways[t, s] counts the draws of s
    samples with t answers at v votes: a product of one polynomial per answer, built up answer by
    answer.
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


def _check_k(k: int, num_samples: int) -> None:
    if not 1 <= k <= num_samples:
        raise ValueError(f"k must be between 1 and the {num_samples} samples drawn, got {k}")
