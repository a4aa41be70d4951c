"""A table's rows made ready for its rules, in pandas or in Spark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from expectations.normalized import normalized
from expectations.report import MAX_EXAMPLES
from expectations.rule import AtMostPer, Found, NotNull, Rule
from schemas.table import ColumnType, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame

PANDAS = "pandas"
SPARK = "spark"

_BEGINNING = 80
"""Characters of a text that is only looked at by people."""


def engine_of(rows: pa.Table | DataFrame) -> str:
    """Which engine checks these rows."""
    import pyarrow as pa

    return PANDAS if isinstance(rows, pa.Table) else SPARK


def column_differences(table: Table, rows: pa.Table | DataFrame) -> Found:
    """Columns that are missing, undeclared, or of another type than declared."""
    declared, found = _types(table, rows)
    differences = tuple(
        {"column": name, "declared": declared.get(name), "found": found.get(name)}
        for name in dict.fromkeys([*declared, *found])
        if declared.get(name) != found.get(name)
    )
    return Found(len(differences), differences)


def _types(table: Table, rows: pa.Table | DataFrame) -> tuple[dict[str, str], dict[str, str]]:
    if engine_of(rows) == PANDAS:
        arrow = {column.name: str(column.type.arrow()) for column in table.columns}
        return arrow, {field.name: str(field.type) for field in rows.schema}
    spark = {column.name: column.type.spark().simpleString() for column in table.columns}
    return spark, {field.name: field.dataType.simpleString() for field in rows.schema.fields}


def pandas_frame(rows: pa.Table, rules: Sequence[Rule]) -> pd.DataFrame:
    """The rows with the columns that the rules derive from them."""
    frame = rows.to_pandas()
    for rule in rules:
        if isinstance(rule, AtMostPer):
            group = frame[rule.group].map(normalized) if rule.normalized else frame[rule.group]
            sizes = frame[rule.counted or rule.group].groupby(group)
            frame[rule.size_column] = sizes.transform("nunique" if rule.counted else "size")
    return frame


def spark_frame(table: Table, rows: DataFrame, rules: Sequence[Rule]) -> DataFrame:
    """The rows with the columns that the rules derive, without the columns that no rule reads.

    A NaN becomes null, as it is in pandas: a figure that is not there. Texts that are checked for
    null alone are cut short, since the frame is cached while its rules are evaluated.
    """
    from pyspark.sql import functions as F

    read = {name for rule in rules for name in rule.columns} | set(table.key)
    compared = {n for rule in rules if not isinstance(rule, NotNull) for n in rule.columns}
    sizes = {r.size_column: F.expr(r.size) for r in rules if isinstance(r, AtMostPer)}
    kept = []
    for column in table.columns:
        value = F.col(column.name)
        if column.type is ColumnType.DOUBLE:
            value = F.when(~F.isnan(value), value)
        elif column.type is ColumnType.STRING and column.name not in {*compared, *table.key}:
            value = F.substring(value, 1, _BEGINNING)
        if column.name in read:
            kept.append(value.alias(column.name))
    # Spark Connect adds one column or more, never none.
    wider = rows.withColumns(sizes) if sizes else rows
    return wider.select(*kept, *sizes)


def pandas_examples(
    table: Table, frame: pd.DataFrame, rule: Rule, places: Sequence[int]
) -> tuple[dict[str, Any], ...]:
    """Some of the rows that break a rule, from their places in the frame."""
    columns = _shown(table, rule)
    rows = frame.loc[list(places)[:MAX_EXAMPLES]] if places else frame.iloc[:0]
    return tuple(
        {name: _plain(value) for name, value in zip(columns, values, strict=True)}
        for values in rows[columns].itertuples(index=False)
    )


def spark_examples(table: Table, frame: DataFrame, rule: Rule) -> tuple[dict[str, Any], ...]:
    """Some of the rows that break a rule."""
    from pyspark.sql import functions as F

    if not rule.broken:
        return ()
    columns = _shown(table, rule)
    broken = frame.withColumn("is_broken", F.expr(rule.broken)).where("is_broken")
    return tuple(row.asDict() for row in broken.select(*columns).limit(MAX_EXAMPLES).collect())


def _shown(table: Table, rule: Rule) -> list[str]:
    """The columns of an example row: what the rule reads, and what tells the row from others."""
    key = [name for name in table.key if name not in table.partition_by] or table.key
    return list(dict.fromkeys([*rule.columns, *key]))


def _plain(value: Any) -> Any:
    """A numpy scalar as Python's own; a figure that is not there as None."""
    plain = value.item() if hasattr(value, "item") else value
    return None if plain != plain else plain
