"""The rows of one run and iteration in a table, at a pinned version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.lake.location import Location
from pipelines.lake.sql_text import sql_equals, sql_identifier
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class TableSnapshot:
    """An input of a stage. Picklable; reads with delta-rs, or with Spark."""

    table: Table
    location: Location
    run_id: str
    iteration: int
    version: int

    def delta(self) -> DeltaTable:
        """The table at the pinned version."""
        return self.location.open_table(self.table.name, self.version)

    def arrow(self, columns: list[str] | None = None, where: str | None = None) -> pa.Table:
        """The rows in memory, in the key's order.

        Args:
            columns: columns wanted, all if None.
            where: a SQL condition on the rows, such as "purpose = 'train'".
        """
        import pyarrow as pa

        names = list(columns or self.table.column_names)
        chosen = ", ".join(map(sql_identifier, names))
        order = ", ".join(map(sql_identifier, self.table.key))
        rows = self._query(f"SELECT {chosen} FROM t WHERE {self._where(where)} ORDER BY {order}")
        # DataFusion returns string views; stages expect the declared types.
        schema = pa.schema([self.table.arrow_schema().field(name) for name in names])
        return rows.cast(schema)

    def count(self, where: str | None = None) -> int:
        """The number of rows."""
        rows = self._query(f"SELECT count(*) AS n FROM t WHERE {self._where(where)}")
        return int(rows.column("n")[0].as_py())

    def spark(self, session: SparkSession) -> DataFrame:
        """The rows as a Spark DataFrame, read from the table at the pinned version."""
        from pyspark.sql import functions as F

        return (
            session.read.format("delta")
            .option("versionAsOf", self.version)
            .load(self.location.table(self.table.name))
            .where((F.col("run_id") == self.run_id) & (F.col("iteration") == self.iteration))
        )

    def describe(self) -> dict[str, Any]:
        """Table, iteration and version: how a seal names its inputs."""
        return {"table": self.table.name, "iteration": self.iteration, "version": self.version}

    def _where(self, condition: str | None) -> str:
        own = sql_equals(run_id=self.run_id, iteration=self.iteration)
        return own if condition is None else f"{own} AND ({condition})"

    def _query(self, sql: str) -> pa.Table:
        import pyarrow as pa
        from deltalake import QueryBuilder

        answer = QueryBuilder().register("t", self.delta()).execute(sql)
        return pa.table(answer.read_all())
