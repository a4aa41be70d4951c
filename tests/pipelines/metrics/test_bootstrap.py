"""Bootstrap intervals over problems."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.metrics.bootstrap import (
    bootstrap_means,
    difference,
    estimate,
    interval,
    paired_difference,
    sample_means,
)


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


@pytest.mark.parametrize("number", [1, 3, 33, 500])
def test_shares_without_variation_have_wilson_s_interval(number: int) -> None:
    # Wilson (1927) at 0 of n: the upper bound is z^2 / (n + z^2).
    upper = 3.8415 / (number + 3.8415)
    none = estimate(np.zeros(number), 100, (0,), share=True)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(upper, abs=1e-4)
    every = estimate(np.ones(number), 100, (0,), share=True)
    assert (every.value, every.high) == (1.0, 1.0)
    assert every.low == pytest.approx(1 - upper, abs=1e-4)
    rewards = estimate(np.zeros(number), 100, (0,))
    assert (rewards.low, rewards.high) == (0.0, 0.0)


def test_every_interval_contains_its_value() -> None:
    for number in range(1, 60):
        for value in (1 / 3, 8 / 12, 0.1, 1 - 1e-16):
            for share in (False, True):
                found = estimate(np.full(number, value), 100, (0,), share=share)
                assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_difference_without_variation_on_one_side_keeps_that_side_s_uncertainty() -> None:
    some = sample_means(np.arange(50) % 2, 500, (0,), share=True)
    none = sample_means(np.zeros(30), 500, (1,), share=True)
    found = difference(some, none)
    assert found.value == 0.5
    alone = some.estimate
    assert found.low < alone.low
    assert found.high == pytest.approx(alone.high, abs=1e-9)


def test_a_paired_difference_needs_the_same_problems() -> None:
    with pytest.raises(ValueError, match="same problems, got 2, 3"):
        paired_difference([0, 1], [0, 1, 1], 100, (0,))
