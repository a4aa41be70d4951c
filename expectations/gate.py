"""The gate: a table's suite, evaluated by Great Expectations before the table is handed on.

Small tables are checked in pandas, large ones in Spark; the caller decides by what it passes. Where
the line is (`gate.max_pandas_rows`): a suite of 36 rules takes 0.3 s on 2,000 rows in pandas and
then some 14 microseconds a row, so 3 s on 200,000 rows; in Spark it takes 1 to 3 s whatever the
size, for ten jobs, once a session is there, and starting one takes 10 s. Seconds would put the line
at 100,000 rows; it is drawn at 200,000 because up to there a table fits in the driver (about 1 GiB
with a kilobyte of text in several columns), is there already, and needs no session at all.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from expectations.context import Context
from expectations.frames import (
    PANDAS,
    column_differences,
    engine_of,
    pandas_examples,
    pandas_frame,
    spark_examples,
    spark_frame,
)
from expectations.report import MAX_EXAMPLES, CheckResult, Report
from expectations.rule import Mean, NothingFound, RowCount, Rule
from expectations.suites import suite
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


def warm_up() -> None:
    """Import Great Expectations, which takes seconds: for a thread at the start of a run."""
    great_expectations()


def check(
    table: Table, rows: pa.Table | DataFrame, context: Context | None = None, iteration: int = 0
) -> Report:
    """Evaluate a table's suite on its rows.

    Args:
        table: what the rows are.
        rows: an Arrow table (checked in pandas), or a Spark DataFrame.
        context: figures about what is outside the table.
        iteration: whose rows they are, for the report.
    """
    columns = NothingFound(
        column_differences(table, rows),
        "column missing, undeclared or of another type",
        name="columns are as declared",
    )
    # No other rule can be evaluated on columns that are not there.
    rules = [columns] if columns.found.count else [columns, *suite(table, context or Context())]
    evaluate = _in_pandas if engine_of(rows) == PANDAS else _in_spark
    results, validation = evaluate(table, rows, rules)
    return Report(table.name, iteration, results, validation)


_Evaluated = tuple[tuple[CheckResult, ...], dict[str, Any]]


def _in_pandas(table: Table, rows: pa.Table, rules: Sequence[Rule]) -> _Evaluated:
    derivable = [] if len(rules) == 1 else rules
    frame = pandas_frame(rows, derivable)
    shape = {"result_format": "SUMMARY", "partial_unexpected_count": MAX_EXAMPLES}
    validation = _validate(table, "pandas", frame, rules, shape)
    by_rule = _by_rule(validation)
    results = []
    for rule in rules:
        found = by_rule[rule.text]
        places = found["result"].get("partial_unexpected_index_list") or ()
        examples = _found(rule) or pandas_examples(table, frame, rule, places)
        results.append(_result(rule, found, examples, "pandas"))
    return tuple(results), validation


def _in_spark(table: Table, rows: DataFrame, rules: Sequence[Rule]) -> _Evaluated:
    derivable = [] if len(rules) == 1 else rules
    frame = spark_frame(table, rows, derivable).persist()
    # Counts only: these are aggregates that Great Expectations computes in one Spark job, where
    # example rows cost it several jobs a rule. Examples are looked up for broken rules alone.
    shape = {"result_format": "BASIC", "partial_unexpected_count": 0}
    try:
        validation = _validate(table, "spark", frame, rules, shape)
        by_rule = _by_rule(validation)
        results = []
        for rule in rules:
            found = by_rule[rule.text]
            examples = _found(rule)
            if not found["success"] and not examples:
                examples = spark_examples(table, frame, rule)
            results.append(_result(rule, found, examples, "spark"))
    finally:
        frame.unpersist()
    return tuple(results), validation


def _validate(
    table: Table, engine: str, frame: Any, rules: Sequence[Rule], shape: dict[str, Any]
) -> dict[str, Any]:
    gx = great_expectations()
    from expectations.translate import translate

    with silence():
        context = ephemeral_context()
        sources = context.data_sources
        source = (
            sources.add_pandas(engine)
            if engine == "pandas"
            else sources.add_spark(engine, persist=False)
        )
        asset = source.add_dataframe_asset(table.name)
        batch = asset.add_batch_definition_whole_dataframe("rows")
        made = [translate(rule) for rule in rules]
        expectations = context.suites.add(gx.ExpectationSuite(table.name, expectations=made))
        definition = gx.ValidationDefinition(name=table.name, data=batch, suite=expectations)
        definition = context.validation_definitions.add(definition)
        result = definition.run(batch_parameters={"dataframe": frame}, result_format=shape)
        found: dict[str, Any] = result.to_json_dict()
    return found


def _by_rule(validation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    # Results come in another order than the suite's.
    return {r["expectation_config"]["meta"]["rule"]: r for r in validation["results"]}


def _result(
    rule: Rule, found: dict[str, Any], examples: tuple[dict[str, Any], ...], engine: str
) -> CheckResult:
    return CheckResult(
        rule=rule.text,
        severity=rule.severity,
        passed=bool(found["success"]),
        observed=_observed(rule, found),
        num_unexpected=_num_unexpected(rule, found),
        examples=() if found["success"] else examples,
        engine=engine,
        remedy=rule.remedy,
    )


def _num_unexpected(rule: Rule, found: dict[str, Any]) -> int | None:
    if isinstance(rule, NothingFound):
        return rule.found.count
    if "unexpected_count" not in found["result"]:
        return None
    # Spark's count over no row at all is null.
    return found["result"]["unexpected_count"] or 0


def _observed(rule: Rule, found: dict[str, Any]) -> str | None:
    raised = _exception(found)
    if raised is not None:
        return f"could not be evaluated: {raised}"
    figures = found["result"]
    if isinstance(rule, NothingFound):
        return f"{rule.found.count:,} found"
    if isinstance(rule, RowCount):
        return f"{figures['observed_value']:,} rows, expected {rule.words}"
    if isinstance(rule, Mean):
        value = figures["observed_value"]
        return f"{'none' if value is None else f'{value:.4g}'}, expected {rule.words}"
    return f"{figures['unexpected_count'] or 0:,} of {figures['element_count']:,} rows break it"


def _exception(found: dict[str, Any]) -> str | None:
    information = found.get("exception_info") or {}
    for item in [information, *information.values()]:
        if isinstance(item, dict) and item.get("raised_exception"):
            return str(item["exception_message"])
    return None


def _found(rule: Rule) -> tuple[dict[str, Any], ...]:
    return rule.found.examples[:MAX_EXAMPLES] if isinstance(rule, NothingFound) else ()


def great_expectations() -> Any:
    """The library, imported when first asked for."""
    # It reports usage over the network unless told not to, before its import.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with silence():
        import great_expectations as gx

        import expectations.translate  # noqa: F401 - defines our own expectation
    return gx


def ephemeral_context() -> Any:
    """A context of Great Expectations' that writes nothing, not even temporary folders."""
    gx = great_expectations()
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)


@contextmanager
def silence() -> Iterator[None]:
    """Keeps Great Expectations' warnings, which are for its own users, off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
