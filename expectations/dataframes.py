"""Tables as the pandas or Spark data frames that rules are evaluated on, and rows that break a rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from expectations.check_result import MAX_EXAMPLES, Example
from expectations.question_key import question_key
from expectations.rule import AtMostPer, Found, NotNull, Rule
from schemas.table import ColumnType, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame

_NUM_SHOWN_CHARS = 80
"""Length of a text that only people look at."""


def column_differences(table: Table, rows: pa.Table | DataFrame) -> Found:
    """Columns that are missing, undeclared, or of another type than declared."""
    import pyarrow as pa

    if isinstance(rows, pa.Table):
        declared = {c.name: str(c.type.arrow()) for c in table.columns}
        found = {field.name: str(field.type) for field in rows.schema}
    else:
        declared = {c.name: c.type.spark().simpleString() for c in table.columns}
        found = {field.name: field.dataType.simpleString() for field in rows.schema.fields}
    differences = tuple(
        {"column": name, "declared": declared.get(name), "found": found.get(name)}
        for name in dict.fromkeys([*declared, *found])
        if declared.get(name) != found.get(name)
    )
    return Found(len(differences), differences)


def pandas_frame(rows: pa.Table, rules: Sequence[Rule]) -> pd.DataFrame:
    """The rows with the columns that the rules derive from them."""
    frame = rows.to_pandas()
    for rule in rules:
        if isinstance(rule, AtMostPer):
            group = frame[rule.group]
            if rule.normalized:
                group = group.map(question_key, na_action="ignore")
            sizes = frame[rule.counted or rule.group].groupby(group, dropna=False)
            frame[rule.size_column] = sizes.transform("nunique" if rule.counted else "size")
    return frame


def spark_frame(table: Table, rows: DataFrame, rules: Sequence[Rule]) -> DataFrame:
    """The rows with the columns that the rules derive, without the columns that no rule reads.

    A NaN becomes null, as in pandas. Texts that are only checked for null are cut short, since the
    frame is cached while its rules are evaluated.
    """
    from pyspark.sql import functions as F

    read = {name for rule in rules for name in rule.columns} | {*table.key} & {*rows.columns}
    compared = {n for rule in rules if not isinstance(rule, NotNull) for n in rule.columns}
    sizes = {r.size_column: F.expr(r.size) for r in rules if isinstance(r, AtMostPer)}
    kept = []
    for column in table.columns:
        value = F.col(column.name)
        if column.type is ColumnType.DOUBLE:
            value = F.when(~F.isnan(value), value)
        elif column.type is ColumnType.STRING and column.name not in {*compared, *table.key}:
            value = F.substring(value, 1, _NUM_SHOWN_CHARS)
        if column.name in read:
            kept.append(value.alias(column.name))
    # Spark Connect refuses withColumns without a column.
    wider = rows.withColumns(sizes) if sizes else rows
    return wider.select(*kept, *sizes)


def pandas_examples(
    table: Table, frame: pd.DataFrame, rule: Rule, places: Sequence[int]
) -> tuple[Example, ...]:
    """Some of the rows that break a rule, given their places in the frame."""
    rows = frame.loc[list(places)[:MAX_EXAMPLES], _shown_columns(table, rule)]
    return tuple(
        # NaN, which is null here, is the only value that differs from itself.
        {str(name): None if value != value else value for name, value in row.items()}
        for row in rows.to_dict("records")
    )


def spark_examples(table: Table, frame: DataFrame, rule: Rule) -> tuple[Example, ...]:
    """Some of the rows that break a rule."""
    from pyspark.sql import functions as F

    if not rule.broken:
        return ()
    broken = frame.withColumn("is_broken", F.expr(rule.broken)).where("is_broken")
    shown = broken.select(*_shown_columns(table, rule)).limit(MAX_EXAMPLES)
    return tuple(row.asDict() for row in shown.collect())


def _shown_columns(table: Table, rule: Rule) -> list[str]:
    """The columns of an example: those that the rule reads, and those that identify the row."""
    key = [name for name in table.key if name not in table.partition_by] or table.key
    return list(dict.fromkeys([*rule.columns, *key]))
