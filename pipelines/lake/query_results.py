"""Results of the embedded SQL engine, in types that other tools and plain Python expect.

pyarrow's own conversions import pandas in places, which takes a second or two; these do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from deltalake import QueryBuilder

from pipelines.lake.sql_text import sql_identifier, sql_literal

Row = dict[str, Any]
"""A row as Python values: column -> value."""


def literal_table(names: Sequence[str], rows: Sequence[Sequence[str | int | None]]) -> pa.Table:
    """A table of literal values."""
    lines = ", ".join(f"({', '.join(sql_literal(value) for value in row)})" for row in rows)
    columns = ", ".join(f"column{n} AS {sql_identifier(name)}" for n, name in enumerate(names, 1))
    return fetch(QueryBuilder(), f"SELECT {columns} FROM (VALUES {lines})")


def python_rows(table: pa.Table) -> list[Row]:
    """The rows as Python values."""
    columns = [_python_values(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _python_values(column: pa.ChunkedArray[Any]) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()
    start = datetime(1970, 1, 1, tzinfo=UTC if column.type.tz else None)
    micros = column.cast(pa.int64()).to_pylist()
    return [None if value is None else start + timedelta(microseconds=value) for value in micros]


def fetch(engine: QueryBuilder, query: str) -> pa.Table:
    """The result of a query in the types other tools expect: no string views, no nanoseconds."""
    # Not pa.table(...): that imports pandas.
    table = pa.RecordBatchReader.from_stream(engine.execute(query)).read_all()
    fields = [pa.field(f.name, _plain_type(f.type), f.nullable) for f in table.schema]
    return table.cast(pa.schema(fields), safe=False)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.list_(pa.string()) if pa.types.is_list(kind) else kind
