"""The lake of one run: `materialize` makes its tables, and is the only way that they are made.

(`amend` adds rows that come later, beside those that a stage has made: marks given by people.)

What is guaranteed (docs/lake.md describes the tables):

- A stage that is sealed is not run again; its snapshot is returned at the sealed version.
- A stage's rows are committed exactly once, whoever repeats or races.
- A table that breaks a critical expectation is not handed on. A stage that commits at once is
  checked before its commit, so no reader ever sees the refused rows; a streaming stage's rows are
  facts (drawn samples, verdicts) and stay, but are not sealed.
- A killed stage goes on from its last commit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from expectations.check_result import CheckedTable
from pipelines.config import RunConfig
from pipelines.errors import ExpectationsFailed
from pipelines.lake.books import AMENDING, Books, current
from pipelines.lake.commit import commit, committed_transaction, replace_slice
from pipelines.lake.files import PartitionWriter, conform
from pipelines.lake.location import Location
from pipelines.lake.lock import run_lock
from pipelines.lake.seal import Seal
from pipelines.lake.snapshot import TableSnapshot
from pipelines.lake.sql_text import sql_equals
from pipelines.lake.tables import create_tables, refuse_another_version
from pipelines.runtime.progress import Progress
from pipelines.runtime.version import code_version
from pipelines.stage import ArrowStage, Engines, SparkStage, Stage, StageContext, StreamStage
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


class Gate(Protocol):
    """Checks a stage's table against its expectations."""

    def check(
        self,
        table: Table,
        iteration: int,
        rows: pa.Table | DataFrame,
        inputs: Sequence[TableSnapshot],
    ) -> CheckedTable:
        """Evaluate the table's expectations.

        Args:
            table: what the rows are.
            iteration: whose rows they are.
            rows: an Arrow table, or a Spark DataFrame above `gate.max_pandas_rows`.
            inputs: what the stage read.
        """


class Listener(Protocol):
    """Follows a run, for the tracker and for the terminal."""

    def mlflow_run_id(self, iteration: int | None = None) -> str | None:
        """The tracker's run of an iteration, of the whole run if None: for commit messages.

        Called for the first time right before the run's first commit.
        """

    def stage_sealed(self, seal: Seal, snapshot: TableSnapshot, *, repeated: bool) -> None:
        """A stage is complete; `repeated`: it already was before this start."""


@dataclass(frozen=True)
class _Attempt:
    """One attempt at a stage: what is made, from what, and the transaction that commits it."""

    stage: Stage
    writer: PartitionWriter
    inputs: Sequence[TableSnapshot]
    context: StageContext
    transaction: tuple[str, int]
    """Application id and version; a streaming stage's version counts its commits."""
    number: int
    started: float

    @property
    def iteration(self) -> int:
        """The iteration whose rows are made."""
        return self.writer.iteration


@dataclass
class Lake:
    """One run's tables, open for writing; see `open_lake`."""

    config: RunConfig
    location: Location
    engines: Engines
    gate: Gate
    listener: Listener
    progress: Progress
    _books: Books
    _seals: dict[tuple[int, str], Seal] = field(default_factory=dict)
    _is_ready: bool = False

    def materialize(self, stage: Stage, iteration: int, *inputs: TableSnapshot) -> TableSnapshot:
        """The stage's table of an iteration: as it is if it is sealed, else made, checked, sealed.

        Raises:
            ExpectationsFailed: a critical expectation does not hold.
            LakeError: the rows are not the table's, or another process races this one.
        """
        assert stage.reads == tuple(item.table for item in inputs), f"inputs of {stage.name}"
        seal = self._seals.get((iteration, stage.name))
        if seal is not None:
            snapshot = self._snapshot(stage.table, iteration, seal.version)
            self.listener.stage_sealed(seal, snapshot, repeated=True)
            return snapshot
        attempt = self._attempt(stage, iteration, inputs, (self._app_id(iteration, stage), 1), 1)
        if isinstance(stage, StreamStage):
            return self._sealed_now(attempt, self._stream(attempt, stage))
        return self._sealed_now(attempt, self._at_once(attempt, stage))

    def remake(self, stage: ArrowStage, iteration: int, *inputs: TableSnapshot) -> TableSnapshot:
        """A new attempt of a sealed stage: its rows replace the last attempt's in one commit.

        The last attempt's version stays readable, and stages that read it stay as they are: their
        seals name it. An attempt that was committed and then killed before its seal is sealed now.

        Raises:
            ExpectationsFailed: a critical expectation does not hold; nothing is replaced.
            LakeError: the rows are not the table's, or another process races this one.
        """
        number = self._seals[iteration, stage.name].attempt + 1
        # Not the stage's own id, whose version counts the chunks of a first attempt that streamed.
        transaction = (f"{self._app_id(iteration, stage)}/attempt", number)
        attempt = self._attempt(stage, iteration, inputs, transaction, number)
        return self._sealed_now(attempt, self._at_once(attempt, stage))

    def amend(self, stage: ArrowStage, iteration: int, where: str, *inputs: TableSnapshot) -> bool:
        """Make a slice of a table's partition hold exactly the stage's rows.

        For rows that come after the partition was made, beside those of the stage that made it:
        people's marks, and the figures made from them. Sealed versions keep what they had.
        Each change is a new attempt of the stage, with its own transaction and seal; rows that are
        there already are not committed again.

        Args:
            stage: makes all rows of the slice; its name must hold `/`.
            iteration: whose partition.
            where: a SQL condition that the slice's rows fulfil, and no others.
            inputs: what the stage reads.

        Returns:
            Whether something was committed.

        Raises:
            ExpectationsFailed: a critical expectation does not hold.
            LakeError: the rows are not the table's, or another process races this one.
        """
        assert AMENDING in stage.name, f"{stage.name} could be taken for the table's own stage"
        self._make_ready()
        table, app_id = stage.table, self._app_id(iteration, stage)
        attempt = self._attempt(stage, iteration, inputs, (app_id, 0), 0)
        writer = attempt.writer
        rows = _by_key(table, writer.complete(stage.function(attempt.context, *inputs)))
        number = committed_transaction(writer, app_id)
        snapshot = self.latest_snapshot(table, iteration)
        there = _by_key(table, snapshot.arrow(where=where))
        changes = number == 0 or not there.select(rows.column_names).cast(rows.schema).equals(rows)
        if changes:
            number += 1
            checked = self._passed(attempt, rows)
            message = self._message(attempt)
            version = replace_slice(writer, rows, where, (app_id, number), message)
            self._books.record_checks(table, iteration, stage.name, version, checked.results)
            snapshot = self._snapshot(table, iteration, version)
        # Repeated or not: a kill between the commit and its seal is made good here.
        self._seal(attempt, snapshot, rows.num_rows, number)
        return changes

    def sealed(self, table: Table, iteration: int, stage: str) -> TableSnapshot | None:
        """A stage's table at its sealed version; None if it is not sealed."""
        seal = self._seals.get((iteration, stage))
        return None if seal is None else self._snapshot(table, iteration, seal.version)

    def latest_snapshot(self, table: Table, iteration: int) -> TableSnapshot:
        """An iteration's rows of a table at its newest version, sealed or not."""
        return current(self.location, table, self.config.name, iteration)

    def has(self, table: Table) -> bool:
        """Whether the lake has the table; an older version's may lack a newer one."""
        return self.location.has_table(table.name)

    def is_sealed(self, iteration: int, stage: str) -> bool:
        """Whether a stage is sealed."""
        return (iteration, stage) in self._seals

    def _attempt(
        self,
        stage: Stage,
        iteration: int,
        inputs: Sequence[TableSnapshot],
        transaction: tuple[str, int],
        number: int,
    ) -> _Attempt:
        writer = PartitionWriter(stage.table, self.location, self.config.name, iteration)
        context = StageContext(self.engines, self.progress, self.config.folder)
        return _Attempt(stage, writer, inputs, context, transaction, number, time.monotonic())

    def _make_ready(self) -> None:
        """Create the tables and pin the run's name, right before the first commit.

        Not earlier: a user's mistake must leave nothing behind, least of all a name that is pinned
        to the wrong configuration.
        """
        if not self._is_ready:
            mlflow_run_id = self.listener.mlflow_run_id()
            create_tables(self.location, self.config.lake)
            self._books.pin(mlflow_run_id)
            self._is_ready = True

    def _snapshot(self, table: Table, iteration: int, version: int) -> TableSnapshot:
        return TableSnapshot(table, self.location, self.config.name, iteration, version)

    def _app_id(self, iteration: int, stage: Stage) -> str:
        return f"restem/{self.config.name}/{iteration}/{stage.name}"

    def _sealed_now(self, attempt: _Attempt, snapshot: TableSnapshot) -> TableSnapshot:
        """Seal an attempt and notify the listener."""
        seal = self._seal(attempt, snapshot, snapshot.count(), attempt.number)
        self.listener.stage_sealed(seal, snapshot, repeated=False)
        return snapshot

    def _seal(self, attempt: _Attempt, snapshot: TableSnapshot, num_rows: int, number: int) -> Seal:
        seal = Seal(
            iteration=attempt.iteration,
            stage=attempt.stage.name,
            attempt=number,
            table_name=snapshot.table.name,
            version=snapshot.version,
            inputs=tuple(item.describe() for item in attempt.inputs),
            rows=num_rows,
            seconds=time.monotonic() - attempt.started,
            measures=attempt.context.measures,
            mlflow_run_id=self.listener.mlflow_run_id(attempt.iteration),
            config_hash=self.config.config_hash(),
            code_version=code_version(),
            committed_at=datetime.now(UTC),
        )
        self._books.seal(seal)
        self._seals[seal.key] = seal
        return seal

    def _message(self, attempt: _Attempt) -> dict[str, Any]:
        return {
            "run": self.config.name,
            "iteration": attempt.iteration,
            "stage": attempt.stage.name,
            "inputs": [item.describe() for item in attempt.inputs],
            "config_hash": self.config.config_hash(),
            "code_version": code_version(),
            "mlflow_run_id": self.listener.mlflow_run_id(attempt.iteration),
        }

    def _at_once(self, attempt: _Attempt, stage: SparkStage | ArrowStage) -> TableSnapshot:
        if committed_transaction(attempt.writer, attempt.transaction[0]) >= attempt.transaction[1]:
            # Committed, and then killed before the seal: check what is there, and seal it.
            return self._checked(attempt)
        if isinstance(stage, ArrowStage):
            rows = stage.function(attempt.context, *attempt.inputs)
            return self._commit_arrow(attempt, attempt.writer.complete(rows))
        frame = self._spark_frame(attempt, stage)
        try:
            if frame.count() > self.config.gate.max_pandas_rows:
                return self._commit_spark(attempt, frame)
            return self._commit_arrow(attempt, conform(stage.table, frame.toArrow()))
        finally:
            frame.unpersist()

    def _spark_frame(self, attempt: _Attempt, stage: SparkStage) -> DataFrame:
        from pyspark.sql import functions as F

        session, writer = self.engines.spark(), attempt.writer
        inputs = [item.spark(session) for item in attempt.inputs]
        frame = stage.function(attempt.context, *inputs).withColumns(
            {"run_id": F.lit(writer.run_id), "iteration": F.lit(writer.iteration)}
        )
        columns = [F.col(c.name).cast(c.type.spark()).alias(c.name) for c in writer.table.columns]
        return frame.select(columns).persist()

    def _commit_arrow(self, attempt: _Attempt, rows: pa.Table) -> TableSnapshot:
        checked = self._passed(attempt, rows)
        writer = attempt.writer
        files = [writer.write(rows)]
        message = self._message(attempt)
        version = commit(writer, files, "overwrite", attempt.transaction, message)
        snapshot = self._snapshot(writer.table, writer.iteration, version)
        self._record_checks(attempt, checked, snapshot.version)
        return snapshot

    def _commit_spark(self, attempt: _Attempt, frame: DataFrame) -> TableSnapshot:
        checked = self._passed(attempt, frame)
        writer, (app_id, app_version) = attempt.writer, attempt.transaction
        where = sql_equals(**writer.partition)
        (
            frame.sortWithinPartitions(*writer.table.key)
            .write.format("delta")
            .mode("overwrite")
            .option("replaceWhere", where)
            .option("txnAppId", app_id)
            .option("txnVersion", app_version)
            .option("userMetadata", json.dumps(self._message(attempt)))
            .save(self.location.table(writer.table.name))
        )
        snapshot = self.latest_snapshot(writer.table, writer.iteration)
        self._record_checks(attempt, checked, snapshot.version)
        return snapshot

    def _stream(self, attempt: _Attempt, stage: StreamStage) -> TableSnapshot:
        self._make_ready()
        writer, (app_id, _) = attempt.writer, attempt.transaction
        committed = self._without_obsolete(attempt, stage)
        message = self._message(attempt)
        sequence = committed_transaction(writer, app_id)
        for files in stage.function(
            attempt.context, *attempt.inputs, committed=committed, writer=writer
        ):
            sequence += 1
            commit(writer, files, "append", (app_id, sequence), message)
        return self._checked(attempt)

    def _without_obsolete(self, attempt: _Attempt, stage: StreamStage) -> TableSnapshot:
        """The committed rows, without those that the stage makes again: these are removed."""
        committed = self.latest_snapshot(stage.table, attempt.iteration)
        where = None if stage.obsolete is None else stage.obsolete()
        number = 0 if where is None else committed.count(where)
        if where is None or number == 0:
            return committed
        self.progress.say(f"{stage.name}: {number:,} rows of an earlier start are made again")
        writer = attempt.writer
        app_id = f"{self._app_id(attempt.iteration, stage)}/obsolete"
        transaction = (app_id, committed_transaction(writer, app_id) + 1)
        nothing = stage.table.arrow_schema().empty_table()
        replace_slice(writer, nothing, where, transaction, self._message(attempt))
        return self.latest_snapshot(stage.table, attempt.iteration)

    def _checked(self, attempt: _Attempt) -> TableSnapshot:
        """The attempt's committed rows, checked: in Spark above `gate.max_pandas_rows`."""
        snapshot = self.latest_snapshot(attempt.stage.table, attempt.iteration)
        is_large = snapshot.count() > self.config.gate.max_pandas_rows
        rows = snapshot.spark(self.engines.spark()) if is_large else snapshot.arrow()
        self._record_checks(attempt, self._passed(attempt, rows), snapshot.version)
        return snapshot

    def _passed(self, attempt: _Attempt, rows: pa.Table | DataFrame) -> CheckedTable:
        """The checks of rows that may be handed on.

        Raises:
            ExpectationsFailed: they may not be.
        """
        checked = self.gate.check(attempt.stage.table, attempt.iteration, rows, attempt.inputs)
        self._make_ready()
        if checked.critical_failures:
            self._record_checks(attempt, checked, None)
            raise ExpectationsFailed(checked.summary())
        return checked

    def _record_checks(self, attempt: _Attempt, checked: CheckedTable, version: int | None) -> None:
        self._books.record_checks(
            attempt.stage.table, attempt.iteration, attempt.stage.name, version, checked.results
        )


def _by_key(table: Table, rows: pa.Table) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in table.key])


@contextmanager
def open_lake(
    config: RunConfig, engines: Engines, gate: Gate, listener: Listener, progress: Progress
) -> Iterator[Lake]:
    """Open a run in its lake, holding the run's lock.

    Raises:
        LakeError: the lake cannot be used, the run is being worked on, or its name is pinned to
            another configuration. Nothing is written then.
    """
    location = Location.of(config.lake)
    books = Books(location, config, code_version())
    with run_lock(location, config.name):
        refuse_another_version(location)
        books.refuse_another_config()
        yield Lake(config, location, engines, gate, listener, progress, books, books.seals())
