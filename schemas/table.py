"""Declarations of tables, from which their Arrow and Spark schemas are made.

An engine is imported only when a schema is made for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import DataType, StructType


class ColumnType(Enum):
    """The column types that Spark, Arrow and delta-rs agree on, by their names in Spark SQL.

    Timestamps are UTC-aware: a naive one would raise the Delta table to reader version 3.
    """

    STRING = "STRING"
    BOOLEAN = "BOOLEAN"
    INT = "INT"
    LONG = "BIGINT"
    DOUBLE = "DOUBLE"
    TIMESTAMP = "TIMESTAMP"
    STRINGS = "ARRAY<STRING>"

    def arrow(self) -> pa.DataType:
        """This type in Arrow."""
        import pyarrow as pa

        types: dict[ColumnType, pa.DataType] = {
            ColumnType.STRING: pa.string(),
            ColumnType.BOOLEAN: pa.bool_(),
            ColumnType.INT: pa.int32(),
            ColumnType.LONG: pa.int64(),
            ColumnType.DOUBLE: pa.float64(),
            ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
            ColumnType.STRINGS: pa.list_(pa.string()),
        }
        return types[self]

    def spark(self) -> DataType:
        """This type in Spark."""
        from pyspark.sql import types

        spark_types: dict[ColumnType, DataType] = {
            ColumnType.STRING: types.StringType(),
            ColumnType.BOOLEAN: types.BooleanType(),
            ColumnType.INT: types.IntegerType(),
            ColumnType.LONG: types.LongType(),
            ColumnType.DOUBLE: types.DoubleType(),
            ColumnType.TIMESTAMP: types.TimestampType(),
            ColumnType.STRINGS: types.ArrayType(types.StringType(), containsNull=True),
        }
        return spark_types[self]


@dataclass(frozen=True)
class Column:
    """One column: its type, what it means, and the values it may take.

    `minimum`, `maximum` (both inclusive) and `allowed` become expectations of the table.
    """

    name: str
    type: ColumnType
    meaning: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table: what one row stands for, what identifies it, and its columns.

    Every table is partitioned by (run_id, iteration): a stage replaces exactly the partition that it
    makes, and a reader of one iteration reads only that iteration's files.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...] = ("run_id", "iteration")

    def __post_init__(self) -> None:
        names = self.column_names
        assert len(set(names)) == len(names), f"{self.name} declares a column twice"
        missing = [name for name in (*self.key, *self.partition_by) if name not in names]
        assert not missing, f"{self.name} has no column {missing}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}")

    def arrow_schema(self, *, partition_columns: bool = True) -> pa.Schema:
        """The table as an Arrow schema.

        Args:
            partition_columns: False leaves them out: the rows as a stage makes them, before the
                lake adds the run and the iteration.
        """
        import pyarrow as pa

        columns = [c for c in self.columns if partition_columns or c.name not in self.partition_by]
        return pa.schema([pa.field(c.name, c.type.arrow(), nullable=c.nullable) for c in columns])

    def spark_schema(self) -> StructType:
        """The table as a Spark schema."""
        from pyspark.sql.types import StructField, StructType

        return StructType(
            [StructField(c.name, c.type.spark(), nullable=c.nullable) for c in self.columns]
        )


RUN_ID = Column("run_id", ColumnType.STRING, "name of the run")
ITERATION = Column(
    "iteration",
    ColumnType.INT,
    "EM iteration; 0 is the base model",
    minimum=0,
)
