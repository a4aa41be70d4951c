"""Figures that the gate needs from other tables."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from expectations import gate
from expectations.context import Context
from pipelines.runs.check_context import _problems, _rewards
from schemas import PROBLEMS, REWARDS
from tests import factories
from tests.pipelines.config.test_suites import BBH, EXAM, config
from tests.pipelines.scoring.test_shares import answers


def verdicts(verifiers: dict[str, str], **by_sample: str) -> pa.Table:
    """Rows of `rewards` by sample, by `math_answer` unless `verifiers` names another one."""
    rows = (
        {"sample_id": name, "verdict": verdict, "verifier": verifiers.get(name, "math_answer")}
        for name, verdict in by_sample.items()
    )
    return factories.arrow(REWARDS, *rows)


def test_a_suite_whose_checker_fails_does_not_hide_behind_the_other_samples() -> None:
    drawn = answers(
        *[("train", f"t{n}", "1") for n in range(98)], ("bbh", "b0", "3"), ("bbh", "b1", "3")
    )
    made = {f"s{n}": "correct" for n in range(98)} | {"s98": "timeout", "s99": "error"}
    rows = verdicts({"s98": "exact_match", "s99": "exact_match"}, **made)
    inputs: dict[str, Any] = {"samples": drawn}
    found = _rewards(config(EXAM, BBH), 0, rows, inputs)
    assert [(one.failed.count, one.total) for one in found.checkers] == [(0, 98), (2, 2)]
    report = gate.check(REWARDS, rows, Context(checkers=found.checkers))
    (failure,) = report.critical_failures
    assert "(bbh) failed on at most 2.0% of samples" in failure.failure()
    assert "2 found (100 % of 2 samples)" in failure.failure()


def test_all_samples_need_a_verdict_except_those_graded_by_hand() -> None:
    drawn = answers(("train", "a", "1"), ("exam", "e", "2"), ("bbh", "b", "3"))
    why = "raised KeyError: 'x' (mine.py, line 2)"
    inputs: dict[str, Any] = {"samples": drawn}
    scored = factories.arrow(
        REWARDS,
        {"sample_id": "s0", "verdict": "error", "detail": why},
        {"sample_id": "s2", "role": "evaluation"},
    )
    found = _rewards(config(EXAM, BBH), 0, scored, inputs)
    assert found.expected_rows == 2
    assert found.checkers[0].usual_failure == why
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
