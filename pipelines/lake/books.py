"""The lake's books of a run: its pinned configuration, its seals, its checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.config import RunConfig, difference
from pipelines.errors import LakeError
from pipelines.lake.commit import commit, committed_transaction, latest_version
from pipelines.lake.files import PartitionWriter
from pipelines.lake.location import Location
from pipelines.lake.snapshot import TableSnapshot
from schemas import CHECKS, RUNS, STAGES
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

AMENDING = "/"
"""In the name of a stage that amends a table which another stage has made: `grade/exam/ada`."""


class Books:
    """Reads and writes `runs`, `stages` and `checks` of one run."""

    def __init__(self, location: Location, config: RunConfig, code_version: str) -> None:
        self._location = location
        self._config = config
        self._code_version = code_version

    def refuse_another_config(self) -> None:
        """Check the run's name against the configuration it is pinned to, if it is.

        Raises:
            LakeError: the name is pinned to another configuration; the message has the difference.
        """
        pinned = self._pinned_config()
        if pinned is None:
            return
        changes = difference(pinned, self._config.pinned())
        if changes:
            listed = "".join(f"\n  {line}" for line in changes)
            raise LakeError(
                f"run {self._config.name!r} exists with another configuration:{listed}\n"
                "choose another name with --name, or undo the change"
            )

    def pin(self, mlflow_run_id: str | None) -> None:
        """Record the run, if it is new."""
        row = {
            "config_hash": self._config.config_hash(),
            "config": json.dumps(_without_keys(self._config)),
            "code_version": self._code_version,
            "mlflow_run_id": mlflow_run_id,
            "created_at": datetime.now(UTC),
        }
        self._append(RUNS, 0, [row], (f"restem/{self._config.name}/run", 1))

    def seals(self) -> dict[tuple[int, str], dict[str, Any]]:
        """The newest seal of each (iteration, stage) of the run."""
        rows = self._rows_of_run(STAGES)
        rows.sort(key=lambda row: row["attempt"])
        return {(row["iteration"], row["stage"]): row for row in rows}

    def seal(
        self, iteration: int, stage: str, row: dict[str, Any], attempt: int = 1
    ) -> dict[str, Any]:
        """Record that an attempt's table is complete and passed its checks."""
        row = {
            **row,
            "stage": stage,
            "attempt": attempt,
            "config_hash": self._config.config_hash(),
            "code_version": self._code_version,
            "committed_at": datetime.now(UTC),
        }
        app_id = f"restem/{self._config.name}/{iteration}/{stage}/seal"
        self._append(STAGES, iteration, [row], (app_id, attempt))
        return {**row, "iteration": iteration}

    def record_checks(
        self, table: Table, iteration: int, stage: str, version: int | None, results: Sequence[Any]
    ) -> None:
        """Record what the gate found on a stage's table."""
        app_id = f"restem/{self._config.name}/{iteration}/{stage}/checks"
        attempt = committed_transaction(self._writer(CHECKS, iteration), app_id) + 1
        times_checked = attempt
        if AMENDING in stage:
            # Several stages check the table, and each attempt at it has a number of its own.
            checked = current(self._location, CHECKS, self._config.name, iteration)
            earlier = checked.arrow(["attempt"], f"table_name = '{table.name}'")
            times_checked = max(earlier.column("attempt").to_pylist(), default=0) + 1
        now = datetime.now(UTC)
        rows = [
            {
                "table_name": table.name,
                "attempt": times_checked,
                "version": version,
                "rule": result.rule,
                "severity": result.severity,
                "passed": result.passed,
                "observed": result.observed,
                "num_unexpected": result.num_unexpected,
                "examples": json.dumps(result.examples, default=str),
                "engine": result.engine,
                "checked_at": now,
            }
            for result in results
        ]
        if rows:
            self._append(CHECKS, iteration, rows, (app_id, attempt))

    def _pinned_config(self) -> dict[str, Any] | None:
        rows = self._rows_of_run(RUNS)
        if not rows:
            return None
        return RunConfig.model_validate_json(rows[0]["config"]).pinned()

    def _rows_of_run(self, table: Table) -> list[dict[str, Any]]:
        import pyarrow as pa
        from deltalake import DeltaTable, QueryBuilder

        uri, options = self._location.table(table.name), self._location.storage_options
        if not DeltaTable.is_deltatable(uri, storage_options=options):
            return []
        delta = DeltaTable(uri, storage_options=options)
        sql = f"SELECT * FROM t WHERE run_id = '{self._config.name}'"
        answer: pa.Table = pa.table(QueryBuilder().register("t", delta).execute(sql).read_all())
        return answer.to_pylist()

    def _writer(self, table: Table, iteration: int) -> PartitionWriter:
        return PartitionWriter(table, self._location, self._config.name, iteration)

    def _append(
        self, table: Table, iteration: int, rows: list[dict[str, Any]], txn: tuple[str, int]
    ) -> None:
        import pyarrow as pa

        writer = self._writer(table, iteration)
        if committed_transaction(writer, txn[0]) >= txn[1]:
            return
        fields = [f for f in table.arrow_schema() if f.name not in table.partition_by]
        file = writer.write(pa.Table.from_pylist(rows, pa.schema(fields)))
        commit(writer, [file], "append", txn, {"run": self._config.name, "table": table.name})


def _without_keys(config: RunConfig) -> dict[str, Any]:
    """The resolved configuration, readable again, with the values that may be keys left out."""
    tree = config.model_dump(mode="json")
    for section, field in (("lake", "storage_options"), ("spark", "conf")):
        tree[section][field] = dict.fromkeys(tree[section][field], "***")
    return tree


def current(location: Location, table: Table, run_id: str, iteration: int) -> TableSnapshot:
    """The partition at the table's newest version."""
    writer = PartitionWriter(table, location, run_id, iteration)
    return TableSnapshot(table, location, run_id, iteration, latest_version(writer))
