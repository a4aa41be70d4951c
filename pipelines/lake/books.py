"""The lake's records of a run: its pinned configuration, its seals, its checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from expectations.check_result import CheckResult
from pipelines.config import RunConfig
from pipelines.config.flatten import changed_settings
from pipelines.config.redact import redacted
from pipelines.errors import LakeError
from pipelines.lake.commit import (
    AppTransaction,
    commit,
    committed_transaction,
    latest_version,
    raise_fence,
)
from pipelines.lake.fence import Fence
from pipelines.lake.files import PartitionWriter
from pipelines.lake.location import Location
from pipelines.lake.seal import Seal
from pipelines.lake.snapshot import TableSnapshot
from pipelines.lake.sql_text import sql_equals
from schemas import CHECKS, RUNS, STAGES
from schemas.table import Table

AMENDING = "/"
"""In the name of a stage that amends a table which another stage has made: `grade/exam/ada`."""


class Books:
    """Reads and writes `runs`, `stages` and `checks` of one run."""

    def __init__(self, location: Location, config: RunConfig, code_version: str) -> None:
        self._location = location
        self._config = config
        self._code_version = code_version
        self._fence: Fence | None = None

    def is_pinned(self) -> bool:
        """Whether the run has a configuration that its name is pinned to."""
        return self._fence is not None or self._pinned_config() is not None

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

    def pin(self, mlflow_run_id: str | None, fence: Fence) -> None:
        """Record the run, if it is new; from here on, earlier starts change none of its records.

        Raises:
            LakeError: the name was pinned to another configuration meanwhile, or another start has
                taken the run.
        """
        self._fence = fence
        row = {
            "config_hash": self._config.config_hash(),
            "config": json.dumps(redacted(self._config)),
            "code_version": self._code_version,
            "mlflow_run_id": mlflow_run_id,
            "created_at": datetime.now(UTC),
        }
        self._append(RUNS, 0, [row], (f"restem/{self._config.name}/run", 1))
        self.refuse_another_config()  # as it stands in the lake now, whoever recorded it
        raise_fence(self._writer(STAGES, 0), fence)

    def seals(self) -> dict[tuple[int, str], Seal]:
        """The newest seal of each (iteration, stage) of the run."""
        seals = [Seal.from_row(row) for row in self._rows_of_run(STAGES)]
        return {seal.key: seal for seal in sorted(seals, key=lambda seal: seal.attempt)}

    def seal(self, seal: Seal) -> Seal:
        """Record that an attempt's table is complete and passed its checks.

        Returns:
            The recorded seal: an earlier start's, if it sealed this attempt.
        """
        app_id = f"restem/{self._config.name}/{seal.iteration}/{seal.stage}/seal"
        is_new = self._append(STAGES, seal.iteration, [seal.to_row()], (app_id, seal.attempt))
        return seal if is_new else self.seals()[seal.key]

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
        self, table: Table, iteration: int, rows: list[dict[str, Any]], txn: AppTransaction
    ) -> bool:
        """Append rows, unless the transaction is recorded; whether they were appended."""
        import pyarrow as pa

        assert self._fence is not None, "the run was not taken"
        writer = self._writer(table, iteration)
        if committed_transaction(writer, txn[0]) >= txn[1]:
            return False  # and no file is written in vain
        schema = table.arrow_schema(partition_columns=False)
        file = writer.write(pa.Table.from_pylist(rows, schema))
        message = {"run": self._config.name, "table": table.name}
        return commit(writer, [file], "append", txn, message, self._fence).is_new


def current(location: Location, table: Table, run_id: str, iteration: int) -> TableSnapshot:
    """The partition at the table's newest version."""
    writer = PartitionWriter(table, location, run_id, iteration)
    return TableSnapshot(table, location, run_id, iteration, latest_version(writer))
