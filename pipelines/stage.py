"""What a stage is: a named function from pinned tables to one table.

The three kinds differ in what the function is handed and hands back, which is also what decides
how the lake commits it:

| kind | function is given | returns | committed |
|---|---|---|---|
| SparkStage | Spark DataFrames | a DataFrame | at once, after its checks |
| ArrowStage | snapshots | an Arrow table | at once, after its checks |
| StreamStage | snapshots, what is committed so far, a file writer | groups of files | group by group |

A stage knows no path, session or tracker: `Lake.materialize` hands it what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

STAGE_NAMES = (
    "ingest",
    "contamination",
    "base_policy",
    "render",
    "generate",
    "score",
    "evaluate",
    "select",
    "curate",
    "improve",
)
"""All stages, in the order of an iteration."""


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


@dataclass(frozen=True)
class SparkStage:
    """A relational stage."""

    name: str
    function: Callable[..., DataFrame]
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ArrowStage:
    """A stage whose result fits in the driver's memory."""

    name: str
    function: Callable[..., pa.Table]
    measures: dict[str, float] = field(default_factory=dict)
    """Filled by the function while it runs; kept with the stage's seal."""


@dataclass(frozen=True)
class StreamStage:
    """A long stage: its files are committed in groups as they come, and it resumes.

    The function is called as `function(*inputs, committed=Snapshot, writer=FileWriter)`;
    `committed` holds the rows that earlier starts committed, which it must not make again.
    """

    name: str
    function: Callable[..., Iterator[list[WrittenFile]]]
    measures: dict[str, float] = field(default_factory=dict)


Stage = SparkStage | ArrowStage | StreamStage
