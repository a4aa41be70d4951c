"""Figures that the gate needs from other tables."""

from __future__ import annotations

from typing import Any

from expectations.context import Context
from pipelines.runs.check_context import _problems, _rewards
from schemas import PROBLEMS, REWARDS
from tests import factories
from tests.pipelines.config.test_suites import BBH, EXAM, config
from tests.pipelines.scoring.test_shares import answers


def test_all_samples_need_a_verdict_except_those_graded_by_hand() -> None:
    drawn = answers(("train", "a", "1"), ("exam", "e", "2"), ("bbh", "b", "3"))
    inputs: dict[str, Any] = {"samples": drawn}
    scored = factories.arrow(
        REWARDS, {"sample_id": "s0"}, {"sample_id": "s2", "role": "evaluation"}
    )
    found = _rewards(config(EXAM, BBH), 0, scored, inputs)
    assert found.expected_rows == 2
    assert found.samples_without_verdict is not None
    assert [row["sample_id"] for row in found.samples_without_verdict.examples] == ["s2"]


def test_further_verifiers_add_to_the_verdicts_expected() -> None:
    drawn = answers(("train", "a", "1"), ("bbh", "b", "2"), ("bbh", "c", "3"))
    inputs: dict[str, Any] = {"samples": drawn}
    scored = factories.arrow(REWARDS, *({"sample_id": f"s{n}"} for n in range(3)))
    further = [{"function": "math_verify"}, {"function": "hendrycks_math"}]
    found = _rewards(config({**BBH, "verifiers": further}), 0, scored, inputs)
    assert found.expected_rows == 3 + 2 * 2


def test_refused_problems_stop_the_run_where_they_are_asked_and_are_counted_where_not() -> None:
    rows = factories.arrow(
        PROBLEMS,
        {"split": "train", "reference": "4"},
        {"split": "bbh", "reference": " ", "refused": "its own answer gets the verdict error"},
        {"split": "refused", "reference": "", "refused": "its tests cannot be read"},
    )
    found: Context = _problems(config(BBH, EXAM), 0, rows, {})
    assert found.refused_references is not None
    assert found.problems_left_out is not None
    assert [row["reference"] for row in found.refused_references.examples] == [" "]
    assert [row["reference"] for row in found.problems_left_out.examples] == [""]
