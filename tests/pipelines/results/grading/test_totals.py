"""Totals of literal marks."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.results.grading.totals import totals

SEED = (0, 1)


def mark(problem: str, points: float, grader: str = "ada", **more: Any) -> dict[str, Any]:
    row = {"problem_id": problem, "sample_id": problem, "points": points, "grader": grader}
    return {**row, "max_points": 4.0, **more}


def test_points_are_summed_and_divided_by_the_maximum() -> None:
    found = totals([mark("a", 4), mark("b", 1), mark("c", 0, max_points=2.0)], 200, SEED)
    assert (found["graded_points"].value, found["graded_points"].n) == (5.0, 3)
    assert found["graded_share"].value == 0.5
    assert "grader_disagreement" not in found


def test_a_problems_mark_is_the_mean_over_graders_and_solutions() -> None:
    marks = [mark("a", 4), mark("a", 2, "bob"), mark("b", 1), mark("b", 1, "bob")]
    second = [mark("a", 0, sample_id="a2"), mark("a", 0, "bob", sample_id="a2")]
    found = totals(marks + second, 200, SEED)
    assert found["graded_points"].value == pytest.approx((3 + 0) / 2 + 1)
    # Half of `a` for its first solution, none for its second; none for `b`.
    assert found["grader_disagreement"].value == pytest.approx((0.5 + 0) / 2 / 2)


def test_disagreement_is_over_solutions_with_two_or_more_graders() -> None:
    marks = [mark("a", 4), mark("a", 2, "bob"), mark("a", 3, "eve"), mark("b", 1)]
    found = totals(marks, 200, SEED)["grader_disagreement"]
    assert (found.value, found.n) == (0.5, 1)


def test_the_interval_is_over_problems_and_holds_the_value() -> None:
    marks = [mark(f"p{n}", 4.0 * (n % 2)) for n in range(40)]
    found = totals(marks, 1000, SEED)["graded_share"]
    # 40 fair coins: 0.5 plus or minus 1.96 x 0.079.
    assert found.low == pytest.approx(0.345, abs=0.04)
    assert found.high == pytest.approx(0.655, abs=0.04)
    points = totals(marks, 1000, SEED)["graded_points"]
    assert (points.low, points.high) == pytest.approx((found.low * 160, found.high * 160))
    assert totals(marks, 1000, SEED)["graded_share"] == found


@pytest.mark.parametrize("points", [0.1, 1 / 3, 0.7])
def test_equal_marks_have_an_interval_without_width_that_holds_the_value(points: float) -> None:
    found = totals([mark(f"p{n}", points) for n in range(33)], 100, SEED)
    for each in found.values():
        assert each.low <= each.value <= each.high
        assert each.high - each.low == pytest.approx(0, abs=1e-12)
