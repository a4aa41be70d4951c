from __future__ import annotations

import re

import pyarrow as pa
import pytest

from expectations import gate
from expectations.check_result import CheckedTable
from expectations.context import Checker, Context
from expectations.rule import Found
from expectations.table_rules import schema_rules, table_rules
from schemas import REWARDS, SAMPLES, SELECTIONS, TABLES, TRAINING_SET, Table
from tests import factories
from tests.expectations.broken import CASES, Broken

EVERYTHING_KNOWN = Context(
    expected_rows=2,
    refused_references=Found(0),
    problems_left_out=Found(0),
    samples_without_verdict=Found(0),
    verdicts_without_sample=Found(0),
    checkers=(Checker("math_answer", Found(0), 2, 0.02, "reward.timeout_seconds"),),
    evaluation_problems_in_training=Found(0),
    evaluation_questions_in_training=Found(0),
    cutoff=1,
    problems_in_training=Found(0),
    contaminated_suites=Found(0),
    last_accepted_share=0.9,
    last_mean_tokens=7.0,
)


def broken_rules(report: CheckedTable) -> list[str]:
    return [result.rule for result in report.results if not result.passed]


def empty_or_rows(case: Broken) -> pa.Table:
    rows = factories.arrow(case.table, *case.overrides)
    return rows if case.overrides else rows.slice(0, 0)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_good_table_passes_every_rule(table: Table) -> None:
    overrides: list[dict[str, object]] = [{}] if table.name == "policies" else [{}, {}]
    report = gate.check(table, factories.arrow(table, *overrides), EVERYTHING_KNOWN)
    assert broken_rules(report) == []
    assert report.summary() == f"table {table.name}: all {len(report.results)} expectations hold"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.table.name}: {case.rule}")
def test_a_table_that_breaks_one_rule_fails_that_rule_alone(case: Broken) -> None:
    report = gate.check(case.table, empty_or_rows(case), case.context)
    assert broken_rules(report) == [case.rule]
    (result,) = report.critical_failures or report.warnings
    assert result.severity == case.severity
    assert result.num_unexpected == case.num_unexpected
    if case.examples:
        for expected, found in zip(case.examples, result.examples, strict=False):
            assert expected.items() <= found.items()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_rule_about_the_data_has_a_table_that_breaks_it(table: Table) -> None:
    follows = {rule.text for rule in schema_rules(table)}
    stated = {_shape(r.text) for r in table_rules(table, EVERYTHING_KNOWN) if r.text not in follows}
    assert stated <= {_shape(case.rule) for case in CASES if case.table is table}


def _shape(text: str) -> str:
    return re.sub(r"[0-9.]+|math_answer|unit_tests \(humaneval\)", "#", text)


@pytest.mark.parametrize("limit", [0.02, 0.07, 0.1, 0.35])
def test_a_share_exactly_at_its_limit_passes(limit: float) -> None:
    checker = Checker("mine", Found(round(limit * 100)), 100, limit, "reward.timeout_seconds")
    rows = factories.arrow(REWARDS, {})
    assert not gate.check(REWARDS, rows, Context(checkers=(checker,))).critical_failures


def test_no_checker_failure_may_be_allowed() -> None:
    checker = Checker("mine", Found(1), 100, 0.0, "reward.timeout_seconds")
    report = gate.check(REWARDS, factories.arrow(REWARDS, {}), Context(checkers=(checker,)))
    assert len(report.critical_failures) == 1


def test_the_failure_of_a_checker_is_named_with_a_remedy_that_needs_no_other_run() -> None:
    rows = factories.arrow(REWARDS, {"verdict": "error"})
    why = "raised KeyError (mine.py, line 2)"
    checker = Checker("mine", Found(1), 1, 0.0, "reward.timeout_seconds", usual_failure=why)
    (failure,) = gate.check(REWARDS, rows, Context(checkers=(checker,))).critical_failures
    assert "most often it raised KeyError (mine.py, line 2)" in failure.remedy
    assert "same command again" in failure.remedy


def test_rules_without_their_figures_are_left_out() -> None:
    known = {rule.text for rule in table_rules(TRAINING_SET, EVERYTHING_KNOWN)}
    unknown = {rule.text for rule in table_rules(TRAINING_SET, Context())}
    assert unknown < known


def test_solutions_accepted_for_the_first_time_are_no_jump() -> None:
    rows = factories.arrow(SELECTIONS, {}, {})
    assert gate.check(SELECTIONS, rows, Context(last_accepted_share=0.0)).warnings == ()


def test_many_broken_rows_are_counted_and_a_few_are_shown() -> None:
    rows = factories.arrow(SAMPLES, *[{"num_tokens": -1}] * 50)
    (result,) = gate.check(SAMPLES, rows).critical_failures
    assert result.num_unexpected == 50
    assert len(result.examples) == 5
