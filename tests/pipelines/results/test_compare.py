"""Runs are compared by settings, evaluations, paired accuracy and cost."""

from __future__ import annotations

import pytest

from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.results.compare import Comparison, compare, pair_runs
from tests.lake_fixture import write_lake


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = write_lake(tmp_path_factory.mktemp("lake"))
    return compare(LakeReader(Location(str(folder))), ["first", "second"])


def test_only_settings_that_differ_are_shown(comparison: Comparison) -> None:
    assert comparison.settings == {"curate.cutoff": [10, 4], "seed": [0, 1]}


def test_evaluations_stand_side_by_side_test_first(comparison: Comparison) -> None:
    assert next(iter(comparison.evaluations)) == ("test", "greedy_accuracy", 0)
    rows = comparison.evaluations["test", "greedy_accuracy", 2]
    assert [row and row["value"] for row in rows] == [0.75, 1.0]


def test_the_final_policies_are_compared_problem_by_problem(comparison: Comparison) -> None:
    (pair,) = comparison.differences
    assert (pair.gain.n, pair.wins, pair.losses, pair.gain.value) == (4, 1, 0, 0.25)
    assert pair.gain.low <= pair.gain.value <= pair.gain.high


def test_costs_count_rows_tokens_and_seconds(comparison: Comparison) -> None:
    assert comparison.costs["samples drawn"] == [60, 60]
    assert comparison.costs["tokens sampled"] == [420, 420]
    assert comparison.costs["training rows"] == [8, 8]
    assert comparison.costs["seconds, generate"] == [90.0, 90.0]


def test_a_clear_gain_excludes_zero_and_a_tie_does_not() -> None:
    base = {str(n): 0.0 for n in range(100)}
    better = {name: float(int(name) < 40) for name in base}
    better_run = pair_runs("b", "a", better, base)
    same_run = pair_runs("b", "a", base, base)
    assert better_run is not None
    assert same_run is not None
    gain, tie = better_run.gain, same_run.gain
    assert 0.25 < gain.low < 0.4 < gain.high < 0.55
    assert (tie.value, tie.low) == (0.0, -tie.high)
    assert tie.high == pytest.approx(0.037, abs=1e-3)
    assert (better_run.wins, better_run.losses) == (40, 0)


def test_runs_without_a_shared_problem_have_no_difference() -> None:
    assert pair_runs("b", "a", {"x": 1.0}, {"y": 1.0}) is None
