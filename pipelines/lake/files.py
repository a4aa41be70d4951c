"""Write rows as Parquet files of a table; they are not committed yet.

No reader sees a file in a table's folder before a commit names it. So Ray tasks may write at any
time, and a killed run leaves nothing behind but unused files.
"""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import LakeError
from pipelines.lake.location import Location
from pipelines.stage import WrittenFile
from schemas.table import Table

_LONGEST_BOUND = 32
"""A text column gets no bounds if one of its texts has more bytes than this."""


@dataclass(frozen=True)
class PartitionWriter:
    """Writes files of one table's (run_id, iteration) partition. Picklable."""

    table: Table
    location: Location
    run_id: str
    iteration: int

    @property
    def partition(self) -> dict[str, str]:
        """The partition's column values, as Delta's log spells them."""
        return {"run_id": self.run_id, "iteration": str(self.iteration)}

    def write(self, rows: pa.Table) -> WrittenFile:
        """Write one file. The run_id and iteration columns are added if absent.

        Raises:
            LakeError: the rows do not have the table's columns and types, or a null where the
                table has none.
        """
        body = self.complete(rows).drop_columns(list(self.table.partition_by))
        buffer = io.BytesIO()
        pq.write_table(body, buffer, compression="zstd")
        return self._write(buffer.getvalue(), body)

    def write_copy(self, data: bytes) -> WrittenFile:
        """Write a file of another partition as it is: the partition's columns are not in it."""
        body = pq.read_table(io.BytesIO(data))
        # Spark's timestamps are of another type in the file.
        return self._write(data, body.cast(self.table.arrow_schema(partition_columns=False)))

    def _write(self, data: bytes, body: pa.Table) -> WrittenFile:
        folder = "/".join(f"{key}={value}" for key, value in self.partition.items())
        path = f"{folder}/part-{uuid.uuid4().hex}.parquet"
        self.location.write(f"{self.table.name}/{path}", data)
        return WrittenFile(
            path=path,
            size=len(data),
            num_rows=body.num_rows,
            stats=json.dumps(statistics(body)),
            content=content_of(self.table, body),
        )

    def complete(self, rows: pa.Table) -> pa.Table:
        """The rows with the partition's columns, in the table's order and types.

        Raises:
            LakeError: as for `write`.
        """
        for name, value in (("run_id", self.run_id), ("iteration", self.iteration)):
            kind = self.table.column(name).type.arrow()
            column = pa.chunked_array([pa.repeat(value, rows.num_rows).cast(kind)])
            if name not in rows.column_names:
                rows = rows.append_column(name, column)
            elif not rows.column(name).cast(kind).equals(column):
                raise LakeError(
                    f"{self.table.name}.{name}: every row must have {value!r}, the partition that "
                    "the stage makes"
                )
        return conform(self.table, rows)


def content_of(table: Table, rows: pa.Table) -> str:
    """What rows are of, as a hash of their keys: the same for the same rows made again."""
    names = [name for name in table.key if name in rows.column_names]
    keys = sorted(zip(*(rows.column(name).to_pylist() for name in names), strict=True))
    return hashlib.sha256(json.dumps(keys, default=str).encode()).hexdigest()[:32]


def conform(table: Table, rows: pa.Table) -> pa.Table:
    """The rows with exactly the table's columns, in its order and types.

    Raises:
        LakeError: a column is missing, unknown, not castable, or has a null it must not have.
    """
    missing = set(table.column_names) - set(rows.column_names)
    unknown = set(rows.column_names) - set(table.column_names)
    if missing or unknown:
        raise LakeError(
            f"{table.name}: rows must have the declared columns; missing {sorted(missing)}, "
            f"unknown {sorted(unknown)}"
        )
    rows = rows.select(list(table.column_names))
    for column in table.columns:
        nulls = rows.column(column.name).null_count
        if nulls and not column.nullable:
            raise LakeError(f"{table.name}.{column.name}: must not be null, {nulls} rows are")
    try:
        return rows.cast(table.arrow_schema())
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise LakeError(
            f"{table.name}: a column does not have its declared type: {error}"
        ) from None


def statistics(rows: pa.Table) -> dict[str, object]:
    """Delta's per-file statistics: row count, and each column's minimum, maximum and nulls.

    Columns with long texts get no bounds: nothing looks rows up by them, and the log would repeat
    the texts.
    """
    minimum: dict[str, object] = {}
    maximum: dict[str, object] = {}
    nulls: dict[str, int] = {}
    for name in rows.column_names:
        column = rows.column(name)
        bounds = _bounds(column)
        if bounds is not None:
            minimum[name], maximum[name] = bounds
        nulls[name] = column.null_count
    return {
        "numRecords": rows.num_rows,
        "minValues": minimum,
        "maxValues": maximum,
        "nullCount": nulls,
    }


def _bounds(column: pa.ChunkedArray[Any]) -> tuple[object, object] | None:
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_boolean(kind):
        return None
    if column.null_count == len(column):
        return None
    if pa.types.is_string(kind) and pc.max(pc.binary_length(column)).as_py() > _LONGEST_BOUND:
        return None
    low, high = pc.min(column).as_py(), pc.max(column).as_py()
    if isinstance(low, float) and not (abs(low) < float("inf") and abs(high) < float("inf")):
        return None
    if isinstance(low, datetime):
        return _timestamp(low, down=True), _timestamp(high, down=False)
    return low, high


def _timestamp(moment: datetime, *, down: bool) -> str:
    """The time as Delta writes it, in whole milliseconds, rounded so that the bound holds."""
    moment = moment.astimezone(UTC)
    milliseconds = moment.microsecond // 1000
    if not down and moment.microsecond % 1000:
        milliseconds = min(milliseconds + 1, 999)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
