"""The lake's records of a run: its pinned configuration, its seals, its checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

from expectations.check_result import CheckResult
from pipelines.config import RunConfig
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
from pipelines.lake.growth import refused_changes
from pipelines.lake.location import Location
from pipelines.lake.run_state import RunState, run_state
from pipelines.lake.seal import Seal
from pipelines.lake.snapshot import TableSnapshot
from pipelines.lake.sql_text import sql_equals
from schemas import CHECKS, PROBLEMS, RUNS, SAMPLES, STAGES
from schemas.samples import LENGTH, PROMPT_TOO_LONG
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

    @cached_property
    def state(self) -> RunState:
        """What became of the run as a whole, when it was first looked at."""
        return run_state(self._location, self._config.name)

    def is_pinned(self) -> bool:
        """Whether the run has a configuration that its name is pinned to."""
        return self._fence is not None or self._stored_config() is not None

    def refuse_another_config(self) -> None:
        """Check the run's name against the configuration it is pinned to, if it is.

        A run that has no rows yet, because its problems were refused, is not held to anything.

        Raises:
            LakeError: the name is pinned to another configuration, and the message has the difference;
                or a change of the whole run is unfinished.
        """
        self.state.require_whole()
        stored = self._stored_config()
        if stored is None:
            return
        changes = refused_changes(stored, self._config, self.num_cut_at)
        if changes and self._has_problems():
            listed = "".join(f"\n  {line}" for line in changes)
            raise LakeError(
                f"run {self._config.name!r} exists with another configuration:{listed}\n"
                "choose another name with --name, or undo the change"
            )

    def pin(self, mlflow_run_id: str | None, fence: Fence) -> None:
        """Record the run, if it is new; from here on, earlier starts change none of its records.

        Raises:
            LakeError: the name was pinned to another configuration or deleted meanwhile, or another
                start has taken the run.
        """
        self._fence = fence
        raise_fence(self._writer(RUNS, 0), fence)  # no deletion that seemed to be dead goes on
        self._require_same_state()
        self._write_run(mlflow_run_id)
        self.refuse_another_config()  # as it stands in the lake now, whoever recorded it
        for table in (STAGES, CHECKS):
            raise_fence(self._writer(table, 0), fence)

    def seals(self) -> dict[tuple[int, str], Seal]:
        """The newest seal of each (iteration, stage) of the run."""
        return {seal.key: seal for seal in self.all_seals()}

    def all_seals(self) -> list[Seal]:
        """Every seal of the run, by attempt."""
        seals = [Seal.from_row(row) for row in self._rows_of_run(STAGES)]
        return sorted(seals, key=lambda seal: seal.attempt)

    def seal(self, seal: Seal) -> Seal:
        """Record that an attempt's table is complete and passed its checks.

        Returns:
            The recorded seal: an earlier start's, if it sealed this attempt.
        """
        app_id = self.state.app_id(seal.iteration, seal.stage, "seal")
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
        app_id = self.state.app_id(iteration, stage, "checks")
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

    def _require_same_state(self) -> None:
        now = run_state(self._location, self._config.name)
        now.require_whole()
        if now.num_deleted != self.state.num_deleted:
            raise LakeError(
                f"run {self._config.name!r} was deleted since this command opened it; start this "
                "command again"
            )

    def _write_run(self, mlflow_run_id: str | None) -> None:
        """Record the run's configuration if it is new, or if it is another one that is allowed."""
        stored, app_id = self._stored_config(), self.state.app_id("run")
        row = {
            "config_hash": self._config.config_hash(),
            "config": json.dumps(self._config.stored()),
            "code_version": self._code_version,
            "mlflow_run_id": mlflow_run_id,
            "created_at": datetime.now(UTC),
        }
        if stored is None:
            self._append(RUNS, 0, [row], (app_id, 1))
            return
        if stored.config_hash() != self._config.config_hash():
            # From here on no earlier start commits problems: either they are there, or the
            # configuration may be another one.
            assert self._fence is not None, "the run was not taken"
            raise_fence(self._writer(PROBLEMS, 0), self._fence)
        self.refuse_another_config()
        (old,) = self._rows_of_run(RUNS)
        is_logged = old["mlflow_run_id"] is not None or mlflow_run_id is None
        if is_logged and stored.decisive() == self._config.decisive():
            return
        if stored.config_hash() == self._config.config_hash():
            row |= {name: old[name] for name in ("created_at", "code_version")}
            row["mlflow_run_id"] = old["mlflow_run_id"] or mlflow_run_id  # a fork has none at first
        number = committed_transaction(self._writer(RUNS, 0), app_id) + 1
        self._append(RUNS, 0, [row], (app_id, number), "overwrite")

    def seals_of_other_runs(self, stage: str) -> list[tuple[str, Seal]]:
        """(run, seal) of a stage's newest attempts in other runs, the newest first."""
        import pyarrow as pa
        from deltalake import QueryBuilder

        if not self._location.has_table(STAGES.name):
            return []
        own, name = sql_equals(run_id=self._config.name), sql_equals(stage=stage)
        found = (
            QueryBuilder()
            .register("t", self._location.open_table(STAGES.name))
            .execute(f"SELECT * FROM t WHERE {name} AND NOT ({own}) ORDER BY attempt")
        )
        rows = pa.table(found.read_all()).to_pylist()
        newest = {(row["run_id"], row["iteration"]): row for row in rows}
        seals = [(row["run_id"], Seal.from_row(row)) for row in newest.values()]
        return sorted(seals, key=lambda pair: pair[1].committed_at, reverse=True)

    def _stored_config(self) -> RunConfig | None:
        rows = self._rows_of_run(RUNS)
        return RunConfig.model_validate_json(rows[0]["config"]) if rows else None

    def _has_problems(self) -> bool:
        """Whether the run's first table is committed, from which all others are made."""
        app_id = self.state.app_id(0, "ingest")
        return bool(self.seals()) or committed_transaction(self._writer(PROBLEMS, 0), app_id) > 0

    def num_cut_at(self, max_model_len: int) -> int:
        """Number of the run's samples that end, or have no solution, for want of context."""
        rows = self._rows_of_run(
            SAMPLES,
            f"finish_reason = '{PROMPT_TOO_LONG}' OR (finish_reason = '{LENGTH}' AND "
            f"num_prompt_tokens + num_tokens >= {max_model_len})",
            "count(*) AS n",
        )
        return int(rows[0]["n"]) if rows else 0

    def _rows_of_run(
        self, table: Table, where: str = "true", columns: str = "*"
    ) -> list[dict[str, Any]]:
        import pyarrow as pa
        from deltalake import QueryBuilder

        if not self._location.has_table(table.name):
            return []
        delta = self._location.open_table(table.name)
        own = sql_equals(run_id=self._config.name)
        sql = f"SELECT {columns} FROM t WHERE {own} AND ({where})"
        found = QueryBuilder().register("t", delta).execute(sql)
        return pa.table(found.read_all()).to_pylist()

    def _writer(self, table: Table, iteration: int) -> PartitionWriter:
        return PartitionWriter(table, self._location, self._config.name, iteration)

    def _append(
        self,
        table: Table,
        iteration: int,
        rows: list[dict[str, Any]],
        txn: AppTransaction,
        mode: Literal["append", "overwrite"] = "append",
    ) -> bool:
        """Commit rows, unless the transaction is recorded; whether they were committed."""
        import pyarrow as pa

        assert self._fence is not None, "the run was not taken"
        writer = self._writer(table, iteration)
        if committed_transaction(writer, txn[0]) >= txn[1]:
            return False  # and no file is written in vain
        schema = table.arrow_schema(partition_columns=False)
        file = writer.write(pa.Table.from_pylist(rows, schema))
        message = {"run": self._config.name, "table": table.name}
        return commit(writer, [file], mode, txn, message, self._fence).is_new


def current(location: Location, table: Table, run_id: str, iteration: int) -> TableSnapshot:
    """The partition at the table's newest version."""
    writer = PartitionWriter(table, location, run_id, iteration)
    return TableSnapshot(table, location, run_id, iteration, latest_version(writer))
