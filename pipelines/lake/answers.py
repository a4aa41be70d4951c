"""Answers of the embedded SQL engine, in types that other tools and plain Python expect.

pyarrow's own conversions import pandas in places, which takes a second or two; these do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def literal(names: tuple[str, ...], rows: Sequence[tuple[str | int | None, ...]]) -> pa.Table:
    """A table of literal values."""
    from deltalake import QueryBuilder

    lines = ", ".join(f"({', '.join(quoted(value) for value in row)})" for row in rows)
    columns = ", ".join(f'column{n} AS "{name}"' for n, name in enumerate(names, 1))
    return plain(QueryBuilder().execute(f"SELECT {columns} FROM (VALUES {lines})"))


def quoted(value: str | int | None) -> str:
    """The value as a SQL literal."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as Python values."""
    columns = [_values(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    import pyarrow as pa

    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()
    start = datetime(1970, 1, 1, tzinfo=UTC if column.type.tz else None)
    micros = column.cast(pa.int64()).to_pylist()
    return [None if value is None else start + timedelta(microseconds=value) for value in micros]


def plain(answer: object) -> pa.Table:
    """The answer in the types other tools expect: no string views, no nanoseconds."""
    import pyarrow as pa

    # Not pa.table(answer): that imports pandas.
    table = pa.RecordBatchReader.from_stream(answer).read_all()
    fields = [pa.field(f.name, _plain_type(f.type), f.nullable) for f in table.schema]
    return table.cast(pa.schema(fields), safe=False)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.list_(pa.string()) if pa.types.is_list(kind) else kind
