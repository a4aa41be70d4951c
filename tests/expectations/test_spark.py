"""The same rules on the same rows, in Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from expectations import gate
from expectations.report import CheckResult
from schemas import SAMPLES, TABLES
from tests import factories
from tests.expectations.broken import CASES
from tests.expectations.test_suites import empty_or_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from schemas import Table

pytestmark = pytest.mark.slow


def as_spark(spark: SparkSession, table: Table, rows: pa.Table) -> DataFrame:
    nullable = table.spark_schema()
    for field in nullable.fields:
        field.nullable = True
    return spark.createDataFrame(rows.to_pylist(), nullable)


def comparable(result: CheckResult) -> tuple[object, ...]:
    examples = sorted(str(sorted(row.items(), key=str)) for row in result.examples)
    return (result.rule, result.passed, result.num_unexpected, result.observed, tuple(examples))


def test_pandas_and_spark_give_the_same_verdicts_on_the_same_rows(spark: SparkSession) -> None:
    for case in CASES:
        rows = empty_or_rows(case)
        in_pandas = gate.check(case.table, rows, case.context)
        in_spark = gate.check(case.table, as_spark(spark, case.table, rows), case.context)
        assert {r.engine for r in in_spark.results} == {"spark"}
        assert [r.rule for r in in_spark.results if not r.passed] == [case.rule]
        for left, right in zip(in_pandas.results, in_spark.results, strict=True):
            if left.num_unexpected is None or left.num_unexpected <= 5:
                assert comparable(left) == comparable(right)
            else:
                assert comparable(left)[:4] == comparable(right)[:4]


def test_good_tables_pass_in_spark(spark: SparkSession) -> None:
    for table in TABLES:
        rows = factories.arrow(table, {})
        report = gate.check(table, as_spark(spark, table, rows))
        assert report.critical_failures == ()


def test_a_suite_costs_few_spark_jobs(spark: SparkSession) -> None:
    frame = as_spark(spark, SAMPLES, factories.arrow(SAMPLES, *[{}] * 10))
    tracker = spark.sparkContext.statusTracker()
    spark.sparkContext.setJobGroup("gate", "gate")
    report = gate.check(SAMPLES, frame)
    jobs = len(tracker.getJobIdsForGroup("gate"))
    assert len(report.results) > 30
    assert jobs <= 20
