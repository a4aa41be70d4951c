"""The lake of one run: `materialize` is the only way a table of it comes to be.

(`amend` adds what comes later, beside what a stage has made: marks that people give.)

What is guaranteed (DESIGN of the tables in docs/lake.md):

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
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.config import RunConfig
from pipelines.errors import ExpectationsFailed
from pipelines.lake.books import AMENDING, Books, current
from pipelines.lake.commit import commit, committed_transaction, replace_slice
from pipelines.lake.files import PartitionWriter, conform
from pipelines.lake.location import Location
from pipelines.lake.lock import run_lock
from pipelines.lake.snapshot import TableSnapshot
from pipelines.lake.tables import create_tables, exists, refuse_another_version
from pipelines.runtime.version import code_version
from pipelines.stage import ArrowStage, SparkStage, Stage, StreamStage
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


class Engines(Protocol):
    """The session that relational stages run in, opened when first asked for."""

    def spark(self) -> SparkSession:
        """The Spark session."""


class Gate(Protocol):
    """Checks a stage's table against its expectations."""

    def check(
        self, table: Table, iteration: int, rows: Any, inputs: Sequence[TableSnapshot]
    ) -> Any:
        """A report with `results`, `critical_failures` and `summary()`.

        Args:
            table: what the rows are.
            iteration: whose rows they are.
            rows: an Arrow table, or a Spark DataFrame if they are many.
            inputs: what the stage read.
        """


class Listener(Protocol):
    """Told of every stage: for the tracker and for people."""

    def mlflow_run_id(self, iteration: int | None = None) -> str | None:
        """The tracker's run of an iteration, of the whole run if None: for the commits' messages.

        Asked for the first time right before the run's first commit.
        """

    def stage_started(self, iteration: int, stage: str) -> None:
        """A stage begins."""

    def stage_sealed(
        self, seal: dict[str, Any], snapshot: TableSnapshot, *, repeated: bool
    ) -> None:
        """A stage is complete; `repeated`: it already was before this start."""


@dataclass
class Lake:
    """One run's door to its tables; opened with `open_lake`."""

    config: RunConfig
    location: Location
    engines: Engines
    gate: Gate
    listener: Listener
    _books: Books
    _seals: dict[tuple[int, str], dict[str, Any]] = field(default_factory=dict)
    _is_ready: bool = False

    def materialize(
        self, table: Table, iteration: int, stage: Stage, *inputs: TableSnapshot
    ) -> TableSnapshot:
        """The stage's table of an iteration: as it is if it is sealed, else made, checked, sealed.

        Raises:
            ExpectationsFailed: a critical expectation does not hold.
            LakeError: the rows are not the table's, or another process races this one.
        """
        seal = self._seals.get((iteration, stage.name))
        if seal is not None:
            snapshot = self._snapshot(table, iteration, seal["version"])
            self.listener.stage_sealed(seal, snapshot, repeated=True)
            return snapshot
        self.listener.stage_started(iteration, stage.name)
        started = time.monotonic()
        if isinstance(stage, StreamStage):
            snapshot = self._stream(table, iteration, stage, inputs)
        else:
            transaction = (self._app_id(iteration, stage), 1)
            snapshot = self._at_once(table, iteration, stage, inputs, transaction)
        return self._sealed_now(snapshot, stage, inputs, started, attempt=1)

    def remake(
        self, table: Table, iteration: int, stage: ArrowStage, *inputs: TableSnapshot
    ) -> TableSnapshot:
        """A new attempt of a sealed stage: its rows replace the last attempt's in one commit.

        The last attempt's version stays readable, and stages that read it stay as they are: their
        seals name it. An attempt that was committed and then killed before its seal is sealed now.

        Raises:
            ExpectationsFailed: a critical expectation does not hold; nothing is replaced.
            LakeError: the rows are not the table's, or another process races this one.
        """
        attempt = int(self._seals[iteration, stage.name]["attempt"]) + 1
        self.listener.stage_started(iteration, stage.name)
        started = time.monotonic()
        # Not the stage's own id, whose version counts the chunks of a first attempt that streamed.
        transaction = (f"{self._app_id(iteration, stage)}/attempt", attempt)
        snapshot = self._at_once(table, iteration, stage, inputs, transaction)
        return self._sealed_now(snapshot, stage, inputs, started, attempt)

    def _sealed_now(
        self,
        snapshot: TableSnapshot,
        stage: Stage,
        inputs: Sequence[TableSnapshot],
        started: float,
        attempt: int,
    ) -> TableSnapshot:
        """Seal an attempt and tell the listener."""
        seconds = time.monotonic() - started
        seal = self._seal(snapshot, stage, inputs, snapshot.count(), seconds, attempt)
        self.listener.stage_sealed(seal, snapshot, repeated=False)
        return snapshot

    def amend(
        self, table: Table, iteration: int, stage: ArrowStage, where: str, *inputs: TableSnapshot
    ) -> bool:
        """Make a slice of a table's partition hold exactly the stage's rows.

        For rows that come after the partition was made, beside those of the stage that made it:
        what people say of samples, and what follows from it. Sealed versions keep what they had.
        Each change is a new attempt of the stage, with its own transaction and seal; rows that are
        there already are not committed again.

        Args:
            table: the table.
            iteration: whose partition.
            stage: makes all rows of the slice; its name must hold `/`.
            where: a SQL condition that the slice's rows fulfil, and no others.
            inputs: what the stage reads.

        Returns:
            Whether something was committed.

        Raises:
            ExpectationsFailed: a critical expectation does not hold.
            LakeError: the rows are not the table's, or another process races this one.
        """
        assert AMENDING in stage.name, f"{stage.name} could be taken for the table's own stage"
        started = time.monotonic()
        self._ready()
        writer = PartitionWriter(table, self.location, self.config.name, iteration)
        by_key = [(name, "ascending") for name in table.key]
        rows = writer.complete(stage.function(*inputs)).sort_by(by_key)
        app_id = self._app_id(iteration, stage)
        attempt = committed_transaction(writer, app_id)
        snapshot = current(self.location, table, self.config.name, iteration)
        there = snapshot.arrow(where=where).sort_by(by_key)
        changes = attempt == 0 or not there.select(rows.column_names).cast(rows.schema).equals(rows)
        if changes:
            attempt += 1
            report = self._passed(table, iteration, stage, rows, inputs)
            message = self._message(iteration, stage, inputs)
            version = replace_slice(writer, rows, where, (app_id, attempt), message)
            self._books.record_checks(table, iteration, stage.name, version, report.results)
            snapshot = self._snapshot(table, iteration, version)
        # Repeated or not: a kill between the commit and its seal is made good here.
        seconds = time.monotonic() - started
        self._seal(snapshot, stage, inputs, rows.num_rows, seconds, attempt)
        return changes

    def sealed(self, table: Table, iteration: int, stage: str) -> TableSnapshot | None:
        """A stage's table at its sealed version; None if it is not sealed."""
        seal = self._seals.get((iteration, stage))
        return None if seal is None else self._snapshot(table, iteration, seal["version"])

    def unmade(self, table: Table, iteration: int) -> TableSnapshot:
        """A table as it is now, whatever of it is there."""
        return current(self.location, table, self.config.name, iteration)

    def has(self, table: Table) -> bool:
        """Whether the lake has the table; an older version's may lack a newer one."""
        return exists(self.location, table)

    def is_complete(self, stages: Sequence[tuple[int, str]]) -> bool:
        """Whether all of these stages are sealed."""
        return all(stage in self._seals for stage in stages)

    def _ready(self) -> None:
        """Create the tables and pin the run's name, right before the first commit.

        Not earlier: what a user got wrong must leave nothing behind, least of all a name that is
        pinned to the wrong configuration.
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

    def _seal(
        self,
        snapshot: TableSnapshot,
        stage: Stage,
        inputs: Sequence[TableSnapshot],
        num_rows: int,
        seconds: float,
        attempt: int,
    ) -> dict[str, Any]:
        iteration = snapshot.iteration
        row = {
            "table_name": snapshot.table.name,
            "version": snapshot.version,
            "inputs": json.dumps([item.describe() for item in inputs]),
            "rows": num_rows,
            "seconds": seconds,
            "measures": json.dumps(stage.measures),
            "mlflow_run_id": self.listener.mlflow_run_id(iteration),
        }
        seal = self._books.seal(iteration, stage.name, row, attempt)
        self._seals[iteration, stage.name] = seal
        return seal

    def _message(
        self, iteration: int, stage: Stage, inputs: Sequence[TableSnapshot]
    ) -> dict[str, Any]:
        return {
            "run": self.config.name,
            "iteration": iteration,
            "stage": stage.name,
            "inputs": [item.describe() for item in inputs],
            "config_hash": self.config.config_hash(),
            "code_version": code_version(),
            "mlflow_run_id": self.listener.mlflow_run_id(iteration),
        }

    def _at_once(
        self,
        table: Table,
        iteration: int,
        stage: SparkStage | ArrowStage,
        inputs: Sequence[TableSnapshot],
        transaction: tuple[str, int],
    ) -> TableSnapshot:
        writer = PartitionWriter(table, self.location, self.config.name, iteration)
        if committed_transaction(writer, transaction[0]) >= transaction[1]:
            # Committed, and then killed before the seal: check what is there, and seal it.
            snapshot = current(self.location, table, self.config.name, iteration)
            self._check(iteration, stage, snapshot, inputs)
            return snapshot
        if isinstance(stage, ArrowStage):
            rows = writer.complete(stage.function(*inputs))
            return self._commit_arrow(writer, stage, rows, inputs, transaction)
        frame = self._spark_frame(writer, stage, inputs)
        try:
            if frame.count() > self.config.gate.max_pandas_rows:
                return self._commit_spark(writer, stage, frame, inputs, transaction)
            rows = conform(table, frame.toArrow())
            return self._commit_arrow(writer, stage, rows, inputs, transaction)
        finally:
            frame.unpersist()

    def _spark_frame(
        self, writer: PartitionWriter, stage: SparkStage, inputs: Sequence[TableSnapshot]
    ) -> DataFrame:
        from pyspark.sql import functions as F

        session = self.engines.spark()
        frame = stage.function(*(item.spark(session) for item in inputs))
        frame = frame.withColumns(
            {"run_id": F.lit(writer.run_id), "iteration": F.lit(writer.iteration)}
        )
        columns = [F.col(c.name).cast(c.type.spark()).alias(c.name) for c in writer.table.columns]
        return frame.select(columns).persist()

    def _commit_arrow(
        self,
        writer: PartitionWriter,
        stage: Stage,
        rows: pa.Table,
        inputs: Sequence[TableSnapshot],
        transaction: tuple[str, int],
    ) -> TableSnapshot:
        table, iteration = writer.table, writer.iteration
        report = self._passed(table, iteration, stage, rows, inputs)
        message = self._message(iteration, stage, inputs)
        files = [writer.write(rows)]
        version = commit(writer, files, "overwrite", transaction, message)
        self._books.record_checks(table, iteration, stage.name, version, report.results)
        return self._snapshot(table, iteration, version)

    def _commit_spark(
        self,
        writer: PartitionWriter,
        stage: Stage,
        frame: DataFrame,
        inputs: Sequence[TableSnapshot],
        transaction: tuple[str, int],
    ) -> TableSnapshot:
        table, iteration = writer.table, writer.iteration
        report = self._passed(table, iteration, stage, frame, inputs)
        where = " AND ".join(f"{key} = '{value}'" for key, value in writer.partition.items())
        (
            frame.sortWithinPartitions(*table.key)
            .write.format("delta")
            .mode("overwrite")
            .option("replaceWhere", where)
            .option("txnAppId", transaction[0])
            .option("txnVersion", transaction[1])
            .option("userMetadata", json.dumps(self._message(iteration, stage, inputs)))
            .save(self.location.table(table.name))
        )
        snapshot = current(self.location, table, writer.run_id, iteration)
        self._books.record_checks(table, iteration, stage.name, snapshot.version, report.results)
        return snapshot

    def _stream(
        self, table: Table, iteration: int, stage: StreamStage, inputs: Sequence[TableSnapshot]
    ) -> TableSnapshot:
        writer = PartitionWriter(table, self.location, self.config.name, iteration)
        app_id = self._app_id(iteration, stage)
        self._ready()
        committed = current(self.location, table, self.config.name, iteration)
        message = self._message(iteration, stage, inputs)
        sequence = committed_transaction(writer, app_id)
        for files in stage.function(*inputs, committed=committed, writer=writer):
            sequence += 1
            commit(writer, files, "append", (app_id, sequence), message)
        snapshot = current(self.location, table, self.config.name, iteration)
        self._check(iteration, stage, snapshot, inputs)
        return snapshot

    def _check(
        self,
        iteration: int,
        stage: Stage,
        snapshot: TableSnapshot,
        inputs: Sequence[TableSnapshot],
    ) -> None:
        """Check what is committed already: in Spark if it is much."""
        many = snapshot.count() > self.config.gate.max_pandas_rows
        rows = snapshot.spark(self.engines.spark()) if many else snapshot.arrow()
        table = snapshot.table
        report = self._passed(table, iteration, stage, rows, inputs)
        self._books.record_checks(table, iteration, stage.name, snapshot.version, report.results)

    def _passed(
        self,
        table: Table,
        iteration: int,
        stage: Stage,
        rows: Any,
        inputs: Sequence[TableSnapshot],
    ) -> Any:
        report = self.gate.check(table, iteration, rows, inputs)
        self._ready()
        if report.critical_failures:
            self._books.record_checks(table, iteration, stage.name, None, report.results)
            raise ExpectationsFailed(report.summary())
        return report


@contextmanager
def open_lake(
    config: RunConfig, engines: Engines, gate: Gate, listener: Listener
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
        yield Lake(config, location, engines, gate, listener, books, books.seals())
