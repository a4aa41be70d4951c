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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipelines.errors import LakeError
from pipelines.runtime.hardware import AUTO
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


@dataclass(frozen=True)
class SealedElsewhere:
    """A stage that another run of the lake has sealed."""

    run: str
    snapshot: Snapshot
    settings: Mapping[str, str]
    """The resolved settings that it was made with."""


@dataclass
class StageContext:
    """What a stage is given besides its inputs."""

    engines: Engines
    progress: Progress
    folder: Path
    """The run's folder, for logs and what is left to go on from after a kill."""
    measures: dict[str, float] = field(default_factory=dict)
    """What the stage measures while it runs; kept in its commits and its seal.

    A stage that goes on after a kill finds here what earlier starts measured up to their last
    commit, and adds to it.
    """
    settings: dict[str, str] = field(default_factory=dict)
    """Resolved settings that decide the rows; kept in its commits and its seal.

    A stage finds here what the run has resolved before, in other iterations and by other starts.
    """
    sealed_elsewhere: Callable[[str], Sequence[SealedElsewhere]] = lambda _: ()
    """The tables of a stage, by its name, in other runs of the lake; the newest first."""
    earlier_seconds: float = 0.0
    """Wall time that the stage knows earlier starts to have spent on what it made."""

    def resolve(self, name: str, value: str) -> str:
        """The value of a setting that decides rows: what it was resolved to before, if it was.

        Args:
            name: the setting.
            value: what this start gives it; `auto` leaves it to the first start.

        Raises:
            LakeError: the run's rows were made with another value.
        """
        recorded = self.settings.get(name)
        if value == AUTO:
            return recorded or AUTO
        if recorded is not None and recorded != value:
            raise LakeError(
                f"{name}: {recorded} -> {value}: the run's rows were made with {recorded}, and with "
                f"{value} others would be drawn; set {name} to it, or choose another name with --name"
            )
        self.settings[name] = value
        return value


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
    content: str
    """Hash of the rows' keys, by which a commit of them is recognized."""


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
    loads_policy: bool = False
    """Whether it loads the weights of the policies it reads, and not only their rows."""
    workload: Workload = field(default_factory=Workload)
    covers: tuple[str, ...] = ()
    """What it makes rows for, of what may grow after it is sealed (suites, E-steps).

    A sealed stage that covers less is extended: the missing rows are added to those that are there.
    """
    is_beside_others: bool = False
    """Whether it adds to an iteration's rows that other stages of the same table make."""


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
    obsolete: Callable[..., str] | None = None
    """Makes, of the inputs, a SQL condition on committed rows that are made again; None: there are none.

    They are removed in one commit before the function is called.
    """


Stage = SparkStage | ArrowStage | StreamStage
