from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pytest

from expectations import gate
from expectations.context import Context
from schemas import CHECKS, SAMPLES, TRAINING_SET
from tests import factories


def test_a_missing_column_stops_before_all_other_rules() -> None:
    rows = factories.arrow(SAMPLES, {}).drop_columns(["index"])
    report = gate.check(SAMPLES, rows)
    (result,) = report.results
    assert not result.passed
    assert result.examples == ({"column": "index", "declared": "int32", "found": None},)


def test_another_type_is_named() -> None:
    rows = factories.arrow(SAMPLES, {})
    place = rows.schema.get_field_index("num_tokens")
    rows = rows.set_column(place, "num_tokens", rows["num_tokens"].cast(pa.int64()))
    (result,) = gate.check(SAMPLES, rows).critical_failures
    assert result.examples == ({"column": "num_tokens", "declared": "int32", "found": "int64"},)


def test_an_undeclared_column_is_named() -> None:
    rows = factories.arrow(SAMPLES, {}).append_column("mood", pa.array(["good"]))
    (result,) = gate.check(SAMPLES, rows).critical_failures
    assert result.examples == ({"column": "mood", "declared": None, "found": "string"},)


def test_the_message_names_table_rule_count_example_and_remedy() -> None:
    rows = factories.arrow(TRAINING_SET, {}, {"weight": -1.0})
    assert gate.check(TRAINING_SET, rows, iteration=2).summary() == (
        "table training_set (iteration 2) is refused: "
        '1 of 2 rows (50 %) have weight < 0, such as {"weight": -1.0, "sample_id": "sample-2"}'
    )
    empty = gate.check(TRAINING_SET, rows.slice(0, 0))
    assert (
        "'at least one solution was kept' does not hold: 0 rows; expected at least 1 row; draw more"
        in empty.summary()
    )


def test_several_broken_rules_are_a_line_each() -> None:
    rows = factories.arrow(SAMPLES, {"num_tokens": -1, "policy_id": None})
    lines = gate.check(SAMPLES, rows, Context(expected_rows=2)).summary().splitlines()
    assert lines[0] == "table samples (iteration 0) is refused:"
    assert len(lines) == 4


def test_results_fit_the_checks_table() -> None:
    report = gate.check(SAMPLES, factories.arrow(SAMPLES, {"num_tokens": -1}, {}))
    overrides = [
        {
            "rule": result.rule,
            "severity": result.severity,
            "passed": result.passed,
            "observed": result.observed,
            "num_unexpected": result.num_unexpected,
            "examples": json.dumps(result.examples),
            "engine": result.engine,
        }
        for result in report.results
    ]
    assert gate.check(CHECKS, factories.arrow(CHECKS, *overrides)).critical_failures == ()


def test_modules_of_expectations_import_no_engine() -> None:
    heavy = ["great_expectations", "pandas", "pyspark", "pyarrow"]
    code = "import sys, expectations.gate, expectations.data_docs; print([m for m in sys.argv[1:] if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_check_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    gate.check(SAMPLES, factories.arrow(SAMPLES, *[{}] * 50))
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
