"""The estimators against the enumeration of every subset, and against published values."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from pipelines.metrics.estimates import (
    Answer,
    bootstrap_means,
    estimate,
    interval,
    maj_at_k,
    paired_difference,
    pass_at_k,
)


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
        maj_at_k(4, [Answer(4, 1.0)], k)


def majority_credit(subset: tuple[Any, ...], credit: dict[Any, float]) -> float:
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
    table = [Answer(count, credit[answer]) for answer, count in votes.items()]
    for k in range(1, len(drawn) + 1):
        subsets = list(combinations(answers, k))
        expected = sum(majority_credit(subset, credit) for subset in subsets) / len(subsets)
        assert maj_at_k(len(drawn), table, k) == pytest.approx(expected), k


def test_maj_at_1_is_pass_at_1() -> None:
    assert maj_at_k(64, [Answer(7, 1.0), Answer(40, 0.0)], 1) == pytest.approx(7 / 64)


def test_maj_at_k_of_a_full_vote_is_the_winner() -> None:
    assert maj_at_k(64, [Answer(20, 1.0), Answer(19, 0.0)], 64) == 1.0
    assert maj_at_k(64, [Answer(20, 1.0), Answer(20, 0.0)], 64) == 0.5
    assert maj_at_k(64, [Answer(20, 1.0), Answer(21, 0.0)], 64) == 0.0


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).random(150)
    assert estimate(values, 200, (1,)) == estimate(values, 200, (1,))
    assert estimate(values, 200, (1,)) != estimate(values, 200, (2,))


def test_the_interval_of_a_share_is_close_to_the_normal_one() -> None:
    values = np.array([1.0] * 30 + [0.0] * 120)
    found = estimate(values, 4000, (0,))
    half = 1.96 * np.sqrt(0.2 * 0.8 / 150)
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - half, abs=0.01)
    assert found.high == pytest.approx(0.2 + half, abs=0.01)
    assert found.n == 150


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        found = estimate(random.random(60) < 0.4, 300, (trial,))
        covered += found.low <= 0.4 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_metrics_of_the_same_problems_are_resampled_together() -> None:
    values = np.random.default_rng(1).random((40, 2))
    together = bootstrap_means(values, 50, (9,))
    np.testing.assert_allclose(together[:, 1], bootstrap_means(values[:, 1], 50, (9,)))


def test_a_paired_difference_is_surer_than_two_separate_intervals() -> None:
    base = np.arange(100) % 3 == 0
    final = base | (np.arange(100) % 10 == 1)
    found = paired_difference(base, final, 1000, (0,))
    apart = bootstrap_means(final, 1000, (1,)) - bootstrap_means(base, 1000, (2,))
    low, high = interval(apart)
    assert found.value == pytest.approx(final.mean() - base.mean())
    assert 0 < found.low < found.high
    assert found.high - found.low < high - low


def test_a_paired_difference_needs_the_same_problems() -> None:
    with pytest.raises(ValueError, match="same problems, got 2, 3"):
        paired_difference([0, 1], [0, 1, 1], 100, (0,))
