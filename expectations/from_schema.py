"""What follows from a table's declaration: its columns, nulls, bounds, values and key."""

from __future__ import annotations

from collections.abc import Iterator

from expectations.rule import Between, NotNull, OneOf, Rule, Unique
from schemas.table import Column, Table


def from_schema(table: Table) -> list[Rule]:
    """The rules that a table's declaration implies.

    That the columns are there with their types is not among them: `gate.check` looks at that
    first, since no other rule can be evaluated without it.
    """
    rules: list[Rule] = [rule for column in table.columns for rule in _rules(column)]
    return [*rules, Unique(table.key, name=f"key ({', '.join(table.key)}) is unique")]


def _rules(column: Column) -> Iterator[Rule]:
    if not column.nullable:
        yield NotNull(column.name)
    if column.minimum is not None or column.maximum is not None:
        yield Between(column.name, column.minimum, column.maximum)
    if column.allowed:
        yield OneOf(column.name, column.allowed)
