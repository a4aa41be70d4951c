"""The lake of one run: `materialize` makes its tables, and is the only way that they are made.

(`amend` adds rows that come later, beside those that a stage has made: marks given by people.)

What is guaranteed (docs/lake.md describes the tables):

- A stage that is sealed is not run again; its snapshot is returned at the sealed version.
- A stage's rows are committed exactly once, whoever repeats or races: of several starts of the run
  one has its lease, and the commits of the others are refused.
- A table that breaks a critical expectation is not handed on. A stage that commits at once is
  checked before its commit, so no reader ever sees the refused rows; a streaming stage's rows are
  facts (drawn samples, verdicts) and stay, but are not sealed.
- A killed stage goes on from its last commit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from expectations.check_result import CheckedTable
from pipelines.config import RunConfig
from pipelines.errors import ExpectationsFailed, LakeError
from pipelines.lake.books import AMENDING, Books, current
from pipelines.lake.commit import (
    AppTransaction,
    commit,
    committed_transaction,
    raise_fence,
    replace_slice,
    transaction_of,
)
from pipelines.lake.files import PartitionWriter, conform
from pipelines.lake.lease import Lease
from pipelines.lake.location import Location
from pipelines.lake.lock import run_lock
from pipelines.lake.messages import newest_message
from pipelines.lake.seal import Seal
from pipelines.lake.snapshot import TableSnapshot
from pipelines.lake.sql_text import sql_equals
from pipelines.lake.tables import create_tables, refuse_another_version
from pipelines.runtime.progress import Progress
from pipelines.runtime.version import code_version
from pipelines.stage import (
    ArrowStage,
    Engines,
    SealedElsewhere,
    SparkStage,
    Stage,
    StageContext,
    StreamStage,
)
from schemas import TABLES
from schemas.table import ColumnType, Table

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


@dataclass
class _Attempt:
    """One attempt at a stage: what is made, from what, and the transaction that commits it."""

    stage: Stage
    writer: PartitionWriter
    inputs: Sequence[TableSnapshot]
    context: StageContext
    transaction: AppTransaction
    """Of an attempt that is committed at once; a stream's chunks have their own."""
    number: int
    started: float
    extended: TableSnapshot | None = None
    """The sealed rows that this attempt adds to; None if it makes all."""
    earlier_seconds: float = 0.0
    """Wall time of earlier starts, up to their last commit."""

    @property
    def seconds(self) -> float:
        """Wall time so far, of all starts."""
        earlier = self.earlier_seconds + self.context.earlier_seconds
        return earlier + time.monotonic() - self.started

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
    _lease: Lease
    _seals: dict[tuple[int, str], Seal] = field(default_factory=dict)
    _is_ready: bool = False

    def materialize(self, stage: Stage, iteration: int, *inputs: TableSnapshot) -> TableSnapshot:
        """The stage's table of an iteration: as it is if it is sealed, else made, checked, sealed.

        A sealed stage that covers less than is asked for now, as another iteration or suite was
        added, is extended: rows are added in a new attempt, and those that are there stay.

        Raises:
            ExpectationsFailed: a critical expectation does not hold.
            LakeError: the rows are not the table's, or another process races this one.
        """
        assert stage.reads == tuple(item.table for item in inputs), f"inputs of {stage.name}"
        if not self.is_made(stage, iteration) and self._books.is_pinned():
            # Before the work, so that no other start does it too. A new run is taken at its first
            # commit: until then it may end in a user's mistake, which leaves nothing behind.
            self._make_ready()
        seal = self._seals.get((iteration, stage.name))
        if seal is not None and self.is_made(stage, iteration):
            snapshot = self._snapshot(stage.table, iteration, seal.version)
            self.listener.stage_sealed(seal, snapshot, repeated=True)
            return snapshot
        if seal is None:
            transaction, number = (self._app_id(iteration, stage), 1), 1
        else:
            number = seal.attempt + 1
            transaction = (f"{self._app_id(iteration, stage)}/attempt", number)
        attempt = self._attempt(stage, iteration, inputs, transaction, number)
        if seal is not None:
            attempt.extended = self._snapshot(stage.table, iteration, seal.version)
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
        self._make_ready()
        number = self._seals[iteration, stage.name].attempt + 1
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
        snapshot = self.latest_snapshot(table, iteration)
        number = committed_transaction(writer, app_id)
        there = _by_key(table, snapshot.arrow(where=where))
        changes = number == 0 or not there.select(rows.column_names).cast(rows.schema).equals(rows)
        if changes:
            number += 1
            checked = self._passed(attempt, rows)
            message = self._message(attempt)
            transaction = (app_id, number)
            done = replace_slice(writer, rows, where, transaction, message, self._lease.fence)
            if not done.is_new:
                raise LakeError(
                    f"{table.name}: an earlier start changed the same rows meanwhile; start this "
                    "command again"
                )
            self._record_checks(attempt, checked, done.version)
            snapshot = self._snapshot(table, iteration, done.version)
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

    def is_made(self, stage: Stage, iteration: int) -> bool:
        """Whether a stage is sealed and covers all that it is asked for."""
        seal = self._seals.get((iteration, stage.name))
        return seal is not None and set(stage.covers) <= set(seal.covers)

    def is_sealed(self, iteration: int, stage: str) -> bool:
        """Whether a stage is sealed."""
        return (iteration, stage) in self._seals

    def _attempt(
        self,
        stage: Stage,
        iteration: int,
        inputs: Sequence[TableSnapshot],
        transaction: AppTransaction,
        number: int,
    ) -> _Attempt:
        writer = PartitionWriter(stage.table, self.location, self.config.name, iteration)
        context = StageContext(self.engines, self.progress, self.config.folder)
        context.settings.update(self._settings_of(stage))
        if self.config.lake.reuse:
            context.sealed_elsewhere = self._sealed_elsewhere
        return _Attempt(stage, writer, inputs, context, transaction, number, time.monotonic())

    def _sealed_elsewhere(self, stage: str) -> list[SealedElsewhere]:
        tables = {table.name: table for table in TABLES}
        return [
            SealedElsewhere(
                run,
                TableSnapshot(
                    tables[seal.table_name], self.location, run, seal.iteration, seal.version
                ),
                seal.settings,
            )
            for run, seal in self._books.seals_of_other_runs(stage)
        ]

    def _settings_of(self, stage: Stage) -> Mapping[str, str]:
        """What the stage's settings were resolved to when the run made it last, in any iteration."""
        seals = [seal for seal in self._seals.values() if seal.stage == stage.name]
        newest = max(seals, key=lambda seal: seal.committed_at, default=None)
        return {} if newest is None else newest.settings

    def _make_ready(self) -> None:
        """Take the run: create the tables, get the lease, pin the run's name; at the first call only.

        A user's mistake must leave nothing behind, least of all a name that is pinned to the wrong
        configuration: so a new run is not taken before its first commit.

        Raises:
            LakeError: another start has the run, or has pinned its name to another configuration.
        """
        if self._is_ready:
            return
        self._lease.wait_until_free()
        mlflow_run_id = self.listener.mlflow_run_id()
        create_tables(self.location, self.config.lake)
        self._lease.take()
        self._books.pin(mlflow_run_id, self._lease.fence)
        # Read anew: what an earlier start sealed until now, and no more from here on.
        self._seals = self._books.seals()
        self._is_ready = True

    def _snapshot(self, table: Table, iteration: int, version: int) -> TableSnapshot:
        return TableSnapshot(table, self.location, self.config.name, iteration, version)

    def _app_id(self, iteration: int, stage: Stage) -> str:
        return self._books.state.app_id(iteration, stage.name)

    def _sealed_now(self, attempt: _Attempt, snapshot: TableSnapshot) -> TableSnapshot:
        """Seal an attempt and notify the listener."""
        seal = self._seal(attempt, snapshot, snapshot.count(), attempt.number)
        self.listener.stage_sealed(seal, snapshot, repeated=False)
        return snapshot

    def _seal(self, attempt: _Attempt, snapshot: TableSnapshot, num_rows: int, number: int) -> Seal:
        seal = self._books.seal(
            Seal(
                iteration=attempt.iteration,
                stage=attempt.stage.name,
                attempt=number,
                table_name=snapshot.table.name,
                version=snapshot.version,
                inputs=tuple(item.describe() for item in attempt.inputs),
                rows=num_rows,
                seconds=attempt.seconds,
                measures=attempt.context.measures,
                covers=self._covers(attempt),
                settings=attempt.context.settings,
                mlflow_run_id=self.listener.mlflow_run_id(attempt.iteration),
                config_hash=self.config.config_hash(),
                code_version=code_version(),
                committed_at=datetime.now(UTC),
            )
        )
        self._seals[seal.key] = seal
        return seal

    def _covers(self, attempt: _Attempt) -> tuple[str, ...]:
        """What the stage has rows for: what this attempt was asked for, and what was there."""
        earlier = self._seals.get((attempt.iteration, attempt.stage.name))
        there = () if earlier is None else earlier.covers
        return tuple(sorted({*attempt.stage.covers, *there}))

    def _message(self, attempt: _Attempt) -> dict[str, Any]:
        return {
            **self._key_of_message(attempt),
            "seconds": attempt.seconds,
            "measures": attempt.context.measures,
            "settings": attempt.context.settings,
            "inputs": [item.describe() for item in attempt.inputs],
            "config_hash": self.config.config_hash(),
            "code_version": code_version(),
            "mlflow_run_id": self.listener.mlflow_run_id(attempt.iteration),
        }

    def _key_of_message(self, attempt: _Attempt) -> dict[str, object]:
        return {
            "run": self.config.name,
            "iteration": attempt.iteration,
            "stage": attempt.stage.name,
            "attempt": attempt.number,
        }

    def _recall(self, attempt: _Attempt) -> None:
        """Go on from what the attempt's last commit, by an earlier start, took and was made with."""
        message = newest_message(attempt.writer, self._key_of_message(attempt))
        attempt.earlier_seconds = float(message.get("seconds", 0.0))
        attempt.context.measures.update(message.get("measures", {}))
        attempt.context.settings.update(message.get("settings", {}))

    def _at_once(self, attempt: _Attempt, stage: SparkStage | ArrowStage) -> TableSnapshot:
        if committed_transaction(attempt.writer, attempt.transaction[0]) >= attempt.transaction[1]:
            # Committed, and then killed before the seal: check what is there, and seal it.
            return self._checked_as_committed(attempt)
        if isinstance(stage, ArrowStage):
            rows = stage.function(attempt.context, *attempt.inputs)
            return self._commit_arrow(attempt, attempt.writer.complete(rows))
        frame = self._spark_frame(attempt, stage)
        try:
            added = None if attempt.extended is None else self._added(attempt.extended, frame)
            if frame.count() > self.config.gate.max_pandas_rows:
                return self._commit_spark(attempt, frame, added)
            rows = conform(stage.table, frame.toArrow())
            to_add = None if added is None else conform(stage.table, added.toArrow())
            return self._commit_arrow(attempt, rows, to_add)
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

    def _added(self, sealed: TableSnapshot, frame: DataFrame) -> DataFrame:
        """The rows of a table that was made again for more, without those that are sealed.

        Raises:
            LakeError: sealed rows are missing in it or differ (but for figures, which are computed
                anew from the newest verdicts, and stay as they were).
        """
        table, there = sealed.table, sealed.spark(self.engines.spark())
        kept = [c.name for c in table.columns if c.type is not ColumnType.DOUBLE]
        changed = there.select(kept).exceptAll(frame.select(kept)).count()
        if changed:
            raise LakeError(
                f"{table.name}: {changed:,} rows that are there would change or be missing, so "
                "nothing can be added to them; undo the change of the problems' files, or choose "
                "another name with --name"
            )
        return frame.join(there.select(*table.key), on=list(table.key), how="left_anti").select(
            *table.column_names
        )

    def _commit_arrow(
        self, attempt: _Attempt, rows: pa.Table, added: pa.Table | None = None
    ) -> TableSnapshot:
        """Check the rows and commit them: all of them, or those that are added to sealed ones."""
        checked = self._passed(attempt, rows)
        writer, fence = attempt.writer, self._lease.fence
        files = [writer.write(rows if added is None else added)]
        adds = added is not None or attempt.stage.is_beside_others
        mode: Literal["append", "overwrite"] = "append" if adds else "overwrite"
        message = self._message(attempt)
        done = commit(writer, files, mode, attempt.transaction, message, fence)
        if not done.is_new:
            return self._checked_as_committed(attempt)
        self._record_checks(attempt, checked, done.version)
        return self._snapshot(writer.table, writer.iteration, done.version)

    def _commit_spark(
        self, attempt: _Attempt, frame: DataFrame, added: DataFrame | None
    ) -> TableSnapshot:
        """Commit a large table with Spark's Delta writer.

        It records one transaction only, the attempt's, and skips the write if that is recorded. So
        the start's number is checked before and after, and what is sealed is what is there.
        """
        checked = self._passed(attempt, frame)
        writer, (app_id, app_version) = attempt.writer, attempt.transaction
        raise_fence(writer, self._lease.fence)
        message = {**self._message(attempt), "start": self._lease.fence.start}
        sorted_rows = (frame if added is None else added).sortWithinPartitions(*writer.table.key)
        rows = sorted_rows.write.format("delta").mode("append")
        if added is None and not attempt.stage.is_beside_others:
            where = sql_equals(**writer.partition)
            rows = rows.mode("overwrite").option("replaceWhere", where)
        (
            rows.option("txnAppId", app_id)
            .option("txnVersion", app_version)
            .option("userMetadata", json.dumps(message))
            .save(self.location.table(writer.table.name))
        )
        snapshot = self.latest_snapshot(writer.table, writer.iteration)
        self._lease.fence.require(snapshot.delta())
        there = newest_message(writer, self._key_of_message(attempt))
        if there.get("start") != self._lease.fence.start:
            return self._checked_as_committed(attempt)
        self._record_checks(attempt, checked, snapshot.version)
        return snapshot

    def _stream(self, attempt: _Attempt, stage: StreamStage) -> TableSnapshot:
        self._make_ready()
        writer, fence = attempt.writer, self._lease.fence
        # From this version on no earlier start commits: what is not there is made here.
        raise_fence(writer, fence)
        app_id = self._app_id(attempt.iteration, stage)
        if self.latest_snapshot(stage.table, attempt.iteration).count():
            self._recall(attempt)
        num_removed = self._remove_obsolete(attempt, stage)
        if num_removed:
            app_id = f"{app_id}/again-{num_removed}"  # the same chunks may be made again
        committed = self.latest_snapshot(stage.table, attempt.iteration)
        for files in stage.function(
            attempt.context, *attempt.inputs, committed=committed, writer=writer
        ):
            transaction = transaction_of(app_id, files)
            commit(writer, files, "append", transaction, self._message(attempt), fence)
        return self._checked(attempt)

    def _remove_obsolete(self, attempt: _Attempt, stage: StreamStage) -> int:
        """Remove the rows that the stage makes again; the number of times that this was done so far.

        A stage that was sealed and grows keeps the rows of its seal.
        """
        writer = attempt.writer
        app_id = f"{self._app_id(attempt.iteration, stage)}/obsolete"
        number = committed_transaction(writer, app_id)
        if stage.obsolete is None or self.is_sealed(attempt.iteration, stage.name):
            return number
        where = stage.obsolete(*attempt.inputs)
        num_rows = self.latest_snapshot(stage.table, attempt.iteration).count(where)
        if num_rows:
            number += 1
            self.progress.say(f"{stage.name}: {num_rows:,} rows of an earlier start are made again")
            nothing = stage.table.arrow_schema().empty_table()
            message = {**self._message(attempt), "removed": where}
            replace_slice(writer, nothing, where, (app_id, number), message, self._lease.fence)
        return number

    def _checked_as_committed(self, attempt: _Attempt) -> TableSnapshot:
        """As `_checked`, where an earlier start made the rows, and knows what they cost."""
        self._recall(attempt)
        return self._checked(attempt)

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
    """Open a run in its lake. It is taken when something is to be made, and given back at the end.

    Raises:
        LakeError: the lake cannot be used, the run is being worked on, or its name is pinned to
            another configuration. Nothing is written then.
    """
    location = Location.of(config.lake)
    with run_lock(location, config.name) as is_locked:
        refuse_another_version(location)
        location = location.patient()  # the store answers: an outage from here on is waited out
        books = Books(location, config, code_version())
        books.refuse_another_config()
        lease = Lease(location, config.name, code_version(), is_locked=is_locked, say=progress.say)
        lease.wait_until_free()
        try:
            yield Lake(
                config, location, engines, gate, listener, progress, books, lease, books.seals()
            )
        finally:
            lease.release()
