"""Stand-ins for what the lake and the stages are given: engines, gates, listeners, snapshots."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expectations.check_result import CheckedTable, CheckResult, Validation
from pipelines.lake.seal import Seal
from pipelines.runtime.progress import Progress, SilentProgress
from pipelines.stage import StageContext, WrittenFile
from schemas.checks import CRITICAL
from schemas.table import Table


def unused() -> Any:
    raise AssertionError("this test needs no such engine")


@dataclass(frozen=True)
class FakeEngines:
    """The sessions that a test has; asking for another one fails the test."""

    spark: Callable[[], Any] = unused
    start_ray: Callable[[], None] = unused


def context(
    folder: Path = Path("unused"),
    spark: Callable[[], Any] = unused,
    start_ray: Callable[[], None] = unused,
    progress: Progress | None = None,
) -> StageContext:
    """The context of a stage that is called directly."""
    return StageContext(FakeEngines(spark, start_ray), progress or SilentProgress(), folder)


class QuietListener:
    """A listener that only notes which stages were sealed before."""

    def __init__(self) -> None:
        self.repeated: list[str] = []

    def mlflow_run_id(self, iteration: int | None = None) -> str | None:
        return "mlflow-1"

    def stage_sealed(self, seal: Seal, snapshot: Any, *, repeated: bool) -> None:
        if repeated:
            self.repeated.append(seal.stage)


@dataclass(frozen=True)
class OneRuleGate:
    """A gate with one critical rule: no row of a table has `value` in `column`."""

    columns: dict[str, str]
    """Table -> the column that is looked at; other tables pass."""
    value: str

    def check(self, table: Table, iteration: int, rows: Any, inputs: Any) -> CheckedTable:
        column = self.columns.get(table.name)
        found = [] if column is None else rows.column(column).to_pylist()
        bad = found.count(self.value)
        rule = CheckResult(
            rule=f"no row is {self.value}",
            severity=CRITICAL,
            passed=not bad,
            observed=f"{bad} rows are {self.value}",
            num_unexpected=bad,
            examples=(),
            engine="pandas",
        )
        return CheckedTable(table.name, iteration, (rule,), Validation(results=[], meta={}))


@dataclass(frozen=True)
class Rows:
    """A snapshot of rows in memory; conditions are evaluated by DuckDB."""

    table: pa.Table
    iteration: int = 1
    version: int = 0

    def arrow(self, columns: list[str] | None = None, where: str | None = None) -> pa.Table:
        rows = self.table
        if where is not None:
            import duckdb

            rows = duckdb.from_arrow(rows).filter(where).to_arrow_table()
        return rows.select(columns) if columns else rows

    def count(self, where: str | None = None) -> int:
        return int(self.arrow(None, where).num_rows)


def policies(policy_id: str = "policy", checkpoint: str = "", iteration: int = 0) -> Rows:
    """A snapshot of one policy."""
    row = {"policy_id": policy_id, "checkpoint_uri": checkpoint}
    return Rows(pa.Table.from_pylist([row]), iteration)


@dataclass
class FolderWriter:
    """Writes Parquet files into a folder."""

    folder: Path

    def write(self, rows: pa.Table) -> WrittenFile:
        name = f"{uuid.uuid4().hex}.parquet"
        pq.write_table(rows, self.folder / name)
        size = (self.folder / name).stat().st_size
        return WrittenFile(name, size, rows.num_rows, "{}", name)

    def read(self, files: list[WrittenFile]) -> list[dict[str, Any]]:
        tables = [pq.read_table(self.folder / file.path) for file in files]
        rows = [row for table in tables for row in table.to_pylist()]
        return sorted(rows, key=lambda row: str(row["sample_id"]))
