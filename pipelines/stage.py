"""What a stage is: a named function from pinned tables to one table.

The three kinds differ in what the function is given and returns, which also decides how the lake
commits its rows:

| kind | function is given | returns | committed |
|---|---|---|---|
| SparkStage | context, Spark DataFrames | a DataFrame | at once, after its checks |
| ArrowStage | context, snapshots | an Arrow table | at once, after its checks |
| StreamStage | context, snapshots, rows committed so far, a file writer | groups of files | by group |

All that is known of a stage is in its object: name, table, inputs, engine, size. What lists stages
(`restem plan`, `status`, `stage`, the command's help) is derived from the loop, see
`pipelines/runs/steps.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipelines.runtime.progress import Progress
from pipelines.workload import Workload
from schemas.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


class Engine(StrEnum):
    """Where a stage's work is done."""

    SPARK = "spark"
    RAY = "ray"
    TORCH = "torch"
    DRIVER = "driver"


class Engines(Protocol):
    """The engines' sessions, each opened when it is first asked for."""

    def spark(self) -> SparkSession:
        """The Spark session."""

    def start_ray(self) -> None:
        """Connect to Ray; nothing happens the second time."""


@dataclass
class StageContext:
    """What a stage is given besides its inputs."""

    engines: Engines
    progress: Progress
    folder: Path
    """The run's folder, for checkpoints and logs."""
    measures: dict[str, float] = field(default_factory=dict)
    """What the stage measures while it runs; kept in its seal."""


class Snapshot(Protocol):
    """The rows of one run and iteration in a table, at a pinned version."""

    @property
    def iteration(self) -> int:
        """The iteration whose rows these are."""

    @property
    def version(self) -> int:
        """The table's Delta version."""

    def arrow(self, columns: list[str] | None = None, where: str | None = None) -> pa.Table:
        """The rows in memory.

        Args:
            columns: columns wanted, all if None.
            where: a SQL condition on the rows, such as "purpose = 'train'".
        """

    def count(self, where: str | None = None) -> int:
        """The number of rows."""


@dataclass(frozen=True)
class WrittenFile:
    """A Parquet file written into a table's folder and not yet committed to it."""

    path: str
    """Relative to the table's root, partition folders included."""
    size: int
    """Bytes."""
    num_rows: int
    stats: str
    """Delta's statistics: numRecords, minValues, maxValues, nullCount, JSON."""


class FileWriter(Protocol):
    """Writes rows as uncommitted files of the stage's table; picklable, used in Ray tasks."""

    def write(self, rows: pa.Table) -> WrittenFile:
        """Write one file. The run_id and iteration columns are added if absent.

        Raises:
            LakeError: the rows do not have the table's columns and types, or a null where the
                table has none.
        """


@dataclass(frozen=True, kw_only=True)
class _Stage:
    name: str
    table: Table
    """The table made."""
    reads: tuple[Table, ...] = ()
    """The tables of the inputs, in the order in which the function takes them."""
    workload: Workload = field(default_factory=Workload)


@dataclass(frozen=True, kw_only=True)
class SparkStage(_Stage):
    """A relational stage."""

    function: Callable[..., DataFrame]
    engine: Engine = Engine.SPARK


@dataclass(frozen=True, kw_only=True)
class ArrowStage(_Stage):
    """A stage whose result fits in the driver's memory."""

    function: Callable[..., pa.Table]
    engine: Engine = Engine.DRIVER


@dataclass(frozen=True, kw_only=True)
class StreamStage(_Stage):
    """A long stage: its files are committed in groups as they are written, and it resumes.

    The function is called as `function(context, *inputs, committed=Snapshot, writer=FileWriter)`;
    `committed` holds the rows that earlier starts committed, which it must not make again.
    """

    function: Callable[..., Iterator[list[WrittenFile]]]
    engine: Engine = Engine.RAY
    obsolete: Callable[[], str] | None = None
    """Makes a SQL condition on committed rows that are made again; None if there are none.

    They are removed in one commit before the function is called.
    """


Stage = SparkStage | ArrowStage | StreamStage
