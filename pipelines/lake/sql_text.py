"""SQL as text: literals, identifiers and conditions to put into it, and the words it consists of."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NOT_NAMES = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_READS = {"select", "with", "values", "describe", "desc", "show", "explain"}


def sql_literal(value: str | int | None) -> str:
    """The value as a SQL literal."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def sql_identifier(name: str) -> str:
    """The name as a quoted identifier: its case is kept, and it may be a keyword, as `index` is."""
    return '"' + name.replace('"', '""') + '"'


def sql_list(values: Iterable[str | int]) -> str:
    """The values as a list in parentheses, as IN takes it."""
    return f"({', '.join(map(sql_literal, values))})"


def sql_equals(**columns: str | int) -> str:
    """The condition that each of these columns has this value."""
    return " AND ".join(f"{name} = {sql_literal(value)}" for name, value in columns.items())


def words(query: str) -> list[str]:
    """The words of a query outside strings and comments, in lower case."""
    return [word.lower() for word in _WORD.findall(_NOT_NAMES.sub(" ", query))]


def only_reads(query: str) -> bool:
    """Whether a statement can only read."""
    found = words(query)
    while found and found[0] in ("explain", "analyze", "verbose"):
        found = found[1:]
    return bool(found) and found[0] in _READS and "insert" not in found
