"""The lake's records of a run: its pinned configuration, its seals, its checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from expectations.check_result import CheckResult
from pipelines.config import RunConfig
from pipelines.config.flatten import changed_settings
from pipelines.errors import LakeError
from pipelines.lake.commit import commit, committed_transaction, latest_version
from pipelines.lake.files import PartitionWriter
from pipelines.lake.location import Location
from pipelines.lake.seal import Seal
from pipelines.lake.snapshot import TableSnapshot
from pipelines.lake.sql_text import sql_equals
from schemas import CHECKS, RUNS, STAGES
from schemas.table import Table

if TYPE_CHECKING:
    pass

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
        changes = changed_settings(pinned, self._config.pinned())
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
            "config": json.dumps(self._config.stored()),
            "code_version": self._code_version,
            "mlflow_run_id": mlflow_run_id,
            "created_at": datetime.now(UTC),
        }
        self._append(RUNS, 0, [row], (f"restem/{self._config.name}/run", 1))

    def seals(self) -> dict[tuple[int, str], Seal]:
        """The newest seal of each (iteration, stage) of the run."""
        seals = [Seal.from_row(row) for row in self._rows_of_run(STAGES)]
        return {seal.key: seal for seal in sorted(seals, key=lambda seal: seal.attempt)}

    def seal(self, seal: Seal) -> None:
        """Record that an attempt's table is complete and passed its checks."""
        app_id = f"restem/{self._config.name}/{seal.iteration}/{seal.stage}/seal"
        self._append(STAGES, seal.iteration, [seal.to_row()], (app_id, seal.attempt))

    def record_checks(
        self,
        table: Table,
        iteration: int,
        stage: str,
        version: int | None,
        results: Sequence[CheckResult],
    ) -> None:
        """Record what the gate found on a stage's table."""
        app_id = f"restem/{self._config.name}/{iteration}/{stage}/checks"
        attempt = committed_transaction(self._writer(CHECKS, iteration), app_id) + 1
        times_checked = attempt
        if AMENDING in stage:
            # Several stages check the table, and each attempt at it has a number of its own.
            checked = current(self._location, CHECKS, self._config.name, iteration)
            earlier = checked.arrow(["attempt"], sql_equals(table_name=table.name)).to_pylist()
            times_checked = max((row["attempt"] for row in earlier), default=0) + 1
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
        from deltalake import QueryBuilder

        if not self._location.has_table(table.name):
            return []
        delta = self._location.open_table(table.name)
        sql = f"SELECT * FROM t WHERE {sql_equals(run_id=self._config.name)}"
        found = QueryBuilder().register("t", delta).execute(sql)
        return pa.table(found.read_all()).to_pylist()

    def _writer(self, table: Table, iteration: int) -> PartitionWriter:
        return PartitionWriter(table, self._location, self._config.name, iteration)

    def _append(
        self, table: Table, iteration: int, rows: list[dict[str, Any]], txn: tuple[str, int]
    ) -> None:
        import pyarrow as pa

        writer = self._writer(table, iteration)
        if committed_transaction(writer, txn[0]) >= txn[1]:
            return
        schema = table.arrow_schema(partition_columns=False)
        file = writer.write(pa.Table.from_pylist(rows, schema))
        commit(writer, [file], "append", txn, {"run": self._config.name, "table": table.name})


def current(location: Location, table: Table, run_id: str, iteration: int) -> TableSnapshot:
    """The partition at the table's newest version."""
    writer = PartitionWriter(table, location, run_id, iteration)
    return TableSnapshot(table, location, run_id, iteration, latest_version(writer))
