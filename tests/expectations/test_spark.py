"""The same rules on the same rows, in Spark."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from expectations import gate
from expectations.check_result import CheckResult
from expectations.context import Context
from schemas import SAMPLES, TABLES
from tests import factories
from tests.expectations.broken import CASES, Broken
from tests.expectations.test_table_rules import empty_or_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from schemas import Table

pytestmark = pytest.mark.slow


def as_spark(spark: SparkSession, table: Table, rows: pa.Table) -> DataFrame:
    nullable = table.spark_schema()
    for field in nullable.fields:
        field.nullable = True
    return spark.createDataFrame(rows, nullable)


def comparable(result: CheckResult) -> tuple[object, ...]:
    examples = sorted(str(sorted(row.items(), key=str)) for row in result.examples)
    return (result.rule, result.passed, result.num_unexpected, result.observed, tuple(examples))


def merged(table: Table) -> Iterator[tuple[set[str], pa.Table, Context]]:
    """A table's broken rows, in as few checks as possible, since each takes Spark seconds.

    Yields:
        The rules that are broken, the rows, and the context of their check.
    """
    cases = [case for case in CASES if case.table is table]
    about_rows = [case for case in cases if case.num_unexpected is not None and not case.share]
    for case in cases:
        if case not in about_rows:
            yield {case.rule}, empty_or_rows(case), case.context
    groups: list[tuple[list[Broken], dict[str, object]]] = [([], {})]
    for case in about_rows:
        known = {
            name: value
            for name, value in vars(case.context).items()
            if value != getattr(Context(), name)
        }
        if any(groups[-1][1].get(name, value) != value for name, value in known.items()):
            groups.append(([], {}))
        groups[-1][0].append(case)
        groups[-1][1].update(known)
    for together, known in groups:
        rows = factories.arrow(table, {}, *(row for case in together for row in case.overrides))
        context = dataclasses.replace(Context(), **known)  # type: ignore[arg-type]
        yield {case.rule for case in together}, rows, context


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_pandas_and_spark_give_the_same_verdicts_on_the_same_rows(
    spark: SparkSession, table: Table
) -> None:
    for broken, rows, context in merged(table):
        in_pandas = gate.check(table, rows, context)
        in_spark = gate.check(table, as_spark(spark, table, rows), context)
        assert {result.engine for result in in_spark.results} == {"spark"}
        assert broken <= {result.rule for result in in_spark.results if not result.passed}
        for left, right in zip(in_pandas.results, in_spark.results, strict=True):
            if left.num_unexpected is None or left.num_unexpected <= 5:
                assert comparable(left) == comparable(right)
            else:
                assert comparable(left)[:4] == comparable(right)[:4]


def test_checking_a_table_takes_few_spark_jobs(spark: SparkSession) -> None:
    frame = as_spark(spark, SAMPLES, factories.arrow(SAMPLES, *[{}] * 10))
    tracker = spark.sparkContext.statusTracker()
    spark.sparkContext.setJobGroup("gate", "gate")
    report = gate.check(SAMPLES, frame)
    jobs = len(tracker.getJobIdsForGroup("gate"))
    assert len(report.results) > 30
    assert jobs <= 20


def test_a_missing_key_column_is_named(spark: SparkSession) -> None:
    frame = as_spark(spark, SAMPLES, factories.arrow(SAMPLES, {})).drop("sample_id")
    (result,) = gate.check(SAMPLES, frame).critical_failures
    assert result.examples == ({"column": "sample_id", "declared": "string", "found": None},)
