"""The gate: a table's rules, evaluated by Great Expectations before the table is handed on.

Small tables are checked in pandas, large ones in Spark; the caller decides by what it passes. The
limit is `gate.max_pandas_rows`: a table's 36 rules take 0.3 s on 2,000 rows in pandas and then about
14 microseconds per row, so 3 s on 200,000 rows; in Spark they take 1 to 3 s whatever the size, for
ten jobs, once a session is open, and opening one takes 10 s. Seconds alone would put the limit at
100,000 rows; it is 200,000 because up to there a table fits in the driver (about 1 GiB with a kilobyte
of text in several columns), is there already, and needs no session at all.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from expectations.check_result import (
    MAX_EXAMPLES,
    CheckedTable,
    CheckResult,
    Example,
    ExpectationResult,
    Validation,
    percent,
)
from expectations.context import Context
from expectations.dataframes import (
    column_differences,
    pandas_examples,
    pandas_frame,
    spark_examples,
    spark_frame,
)
from expectations.rule import Mean, NothingFound, RowCount, Rule
from expectations.table_rules import table_rules
from schemas.table import Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from great_expectations.data_context import EphemeralDataContext
    from pyspark.sql import DataFrame


def warm_up() -> None:
    """Import Great Expectations, which takes seconds: for a thread at the start of a run."""
    great_expectations()


def check(
    table: Table, rows: pa.Table | DataFrame, context: Context | None = None, iteration: int = 0
) -> CheckedTable:
    """Evaluate a table's rules on its rows.

    Args:
        table: what the rows are.
        rows: an Arrow table (checked in pandas), or a Spark DataFrame.
        context: figures from outside the table.
        iteration: the rows' iteration, for messages.
    """
    import pyarrow as pa

    columns = NothingFound(
        column_differences(table, rows),
        "column missing, undeclared or of another type",
        name="columns are as declared",
    )
    # No other rule can be evaluated on columns that are not there.
    rules = [] if columns.found.count else table_rules(table, context or Context())
    if isinstance(rows, pa.Table):
        results, validation = _check_in_pandas(table, rows, [columns, *rules])
    else:
        results, validation = _check_in_spark(table, rows, [columns, *rules])
    return CheckedTable(table.name, iteration, tuple(results), validation)


def _check_in_pandas(
    table: Table, rows: pa.Table, rules: Sequence[Rule]
) -> tuple[list[CheckResult], Validation]:
    frame = pandas_frame(rows, rules)
    validation = _validate(table, "pandas", frame, rules, "SUMMARY", MAX_EXAMPLES)
    by_rule = _results_by_rule(validation)
    results = []
    for rule in rules:
        found = by_rule[rule.text]
        places = found["result"].get("partial_unexpected_index_list")
        examples = pandas_examples(table, frame, rule, places) if places else ()
        results.append(_check_result(rule, found, examples, "pandas"))
    return results, validation


def _check_in_spark(
    table: Table, rows: DataFrame, rules: Sequence[Rule]
) -> tuple[list[CheckResult], Validation]:
    frame = spark_frame(table, rows, rules).persist()
    try:
        # Counts only, which Great Expectations computes in one Spark job: with example rows it needs
        # several jobs per rule. Examples are looked up for broken rules alone.
        validation = _validate(table, "spark", frame, rules, "BASIC", 0)
        by_rule = _results_by_rule(validation)
        results = []
        for rule in rules:
            found = by_rule[rule.text]
            examples = () if found["success"] else spark_examples(table, frame, rule)
            results.append(_check_result(rule, found, examples, "spark"))
    finally:
        frame.unpersist()
    return results, validation


def _validate(
    table: Table,
    engine: str,
    frame: pd.DataFrame | DataFrame,
    rules: Sequence[Rule],
    result_format: str,
    num_examples: int,
) -> Validation:
    gx = great_expectations()
    from expectations.translate import translate

    with silence():
        context = ephemeral_context()
        if engine == "pandas":
            source = context.data_sources.add_pandas(engine)
        else:
            source = context.data_sources.add_spark(engine, persist=False)
        batch = source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("rows")
        suite = gx.ExpectationSuite(table.name, expectations=[translate(rule) for rule in rules])
        suite = context.suites.add(suite)
        definition = gx.ValidationDefinition(name=table.name, data=batch, suite=suite)
        definition = context.validation_definitions.add(definition)
        result = definition.run(
            batch_parameters={"dataframe": frame},
            result_format={
                "result_format": result_format,
                "partial_unexpected_count": num_examples,
            },
        )
        validation: Validation = result.to_json_dict()
    return validation


def _results_by_rule(validation: Validation) -> dict[str, ExpectationResult]:
    # Results come in another order than the rules.
    return {r["expectation_config"]["meta"]["rule"]: r for r in validation["results"]}


def _check_result(
    rule: Rule, found: ExpectationResult, examples: tuple[Example, ...], engine: str
) -> CheckResult:
    num_unexpected = None
    if isinstance(rule, NothingFound):
        num_unexpected, examples = rule.found.count, rule.found.examples[:MAX_EXAMPLES]
    elif "unexpected_count" in found["result"]:
        # Spark's count over no rows is null.
        num_unexpected = found["result"]["unexpected_count"] or 0
    return CheckResult(
        rule=rule.text,
        severity=rule.severity,
        passed=found["success"],
        observed=_observed(rule, found),
        num_unexpected=num_unexpected,
        examples=() if found["success"] else examples,
        engine=engine,
        remedy=rule.remedy,
    )


def _observed(rule: Rule, found: ExpectationResult) -> str:
    information = found["exception_info"]
    for raised in [information, *information.values()]:
        if isinstance(raised, dict) and raised.get("raised_exception"):
            return f"could not be evaluated: {raised['exception_message']}"
    figures = found["result"]
    basis = f" ({rule.basis})" if rule.basis else ""
    if isinstance(rule, NothingFound):
        return f"{rule.found.count:,} found{basis}"
    if isinstance(rule, RowCount):
        count = int(figures["observed_value"] or 0)
        return f"{count:,} {'row' if count == 1 else 'rows'}; expected {rule.words}{basis}"
    if isinstance(rule, Mean):
        mean = figures["observed_value"]
        bounds = f"{rule.minimum:.4g} to {rule.maximum:.4g}"
        return f"{'no value' if mean is None else f'{mean:.4g}'}; expected {bounds}{basis}"
    broken, total = figures["unexpected_count"] or 0, figures["element_count"]
    limit = f"; limit {percent(rule.max_broken_share)}{basis}" if rule.max_broken_share else ""
    return f"{broken:,} of {total:,} rows ({percent(broken / max(total, 1))}) {rule.fault}{limit}"


def great_expectations() -> ModuleType:
    """The library, imported when first asked for."""
    # It reports usage over the network unless this is set before its import.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with silence():
        import great_expectations as gx

        import expectations.translate  # noqa: F401 - defines our own expectation
    return gx


def ephemeral_context() -> EphemeralDataContext:
    """A context of Great Expectations that writes nothing, not even temporary folders."""
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
    """Keeps Great Expectations' warnings, which are for its own developers, off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
