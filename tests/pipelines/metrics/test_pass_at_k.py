"""pass@k and maj@k compared with the enumeration of every subset, and with published values."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from pipelines.metrics.pass_at_k import AnswerVotes, maj_at_k, pass_at_k


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("correct", range(7))
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(correct: int, k: int) -> None:
    draws = [1] * correct + [0] * (6 - correct)
    subsets = list(combinations(draws, k))
    assert pass_at_k(6, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_1_is_the_share_of_correct_samples_of_each_problem() -> None:
    np.testing.assert_allclose(pass_at_k([4, 4, 8], [0, 1, 8], 1), [0, 0.25, 1])


def test_pass_at_k_stays_exact_where_the_binomials_overflow() -> None:
    # 1 - C(1998, 100) / C(2000, 100) = 1 - (1900 * 1899) / (2000 * 1999), far beyond a double.
    assert pass_at_k(2000, 2, 100) == pytest.approx(1 - 1900 * 1899 / (2000 * 1999), rel=1e-12)


def test_pass_at_k_gives_the_values_of_the_reference_implementation() -> None:
    # Chen et al. 2021, figure 3: 1 - np.prod(1 - k / np.arange(n - c + 1, n + 1)).
    for n, c, k in [(200, 5, 10), (200, 5, 100), (100, 50, 10), (10, 9, 2)]:
        reference = 1.0 if n - c < k else 1 - np.prod(1 - k / np.arange(n - c + 1, n + 1))
        assert pass_at_k(n, c, k) == pytest.approx(reference, rel=1e-12)


@pytest.mark.parametrize("k", [0, 5])
def test_k_outside_the_samples_drawn_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be between 1 and the 4 samples drawn, got {k}"):
        pass_at_k([4, 8], [1, 1], k)
    with pytest.raises(ValueError, match=f"got {k}"):
        maj_at_k(4, [AnswerVotes(4, 1.0)], k)


def majority_credit(subset: tuple[str | None, ...], credit: dict[str, float]) -> float:
    votes = Counter(answer for answer in subset if answer is not None)
    if not votes:
        return 0.0
    best = [answer for answer, count in votes.items() if count == max(votes.values())]
    return sum(credit[answer] for answer in best) / len(best)


@pytest.mark.parametrize(
    "drawn",
    ["aaabbc", "aabbcc", "abcdef", "aaaaaa", "bbbbbb", "aabb..", "abb...", "......", "abbbccddd"],
)
def test_maj_at_k_is_the_mean_vote_over_every_subset(drawn: str) -> None:
    answers = [None if letter == "." else letter for letter in drawn]
    credit = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.5, "e": 0.0, "f": 0.0}
    votes = Counter(answer for answer in answers if answer is not None)
    table = [AnswerVotes(count, credit[answer]) for answer, count in votes.items()]
    for k in range(1, len(drawn) + 1):
        subsets = list(combinations(answers, k))
        expected = sum(majority_credit(subset, credit) for subset in subsets) / len(subsets)
        assert maj_at_k(len(drawn), table, k) == pytest.approx(expected), k


def test_maj_at_1_is_pass_at_1() -> None:
    assert maj_at_k(64, [AnswerVotes(7, 1.0), AnswerVotes(40, 0.0)], 1) == pytest.approx(7 / 64)


def test_maj_at_k_of_a_full_vote_is_the_winner() -> None:
    assert maj_at_k(64, [AnswerVotes(20, 1.0), AnswerVotes(19, 0.0)], 64) == 1.0
    assert maj_at_k(64, [AnswerVotes(20, 1.0), AnswerVotes(20, 0.0)], 64) == 0.5
    assert maj_at_k(64, [AnswerVotes(20, 1.0), AnswerVotes(21, 0.0)], 64) == 0.0
