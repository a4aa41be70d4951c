"""Commit files to a table exactly once, with the stage's message in the log.

Every commit records two Delta transactions, (application id, version), in the table: one identifies
what is committed, so that it is recognized if it is already there, and one is the number of the start
(pipelines/lake/fence.py). delta-rs does not skip a recorded transaction, so it is looked up in the
same version of the table from which the commit is prepared; two commits that race conflict, and the
loser looks again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction

from pipelines.errors import LakeError
from pipelines.lake.fence import Fence
from pipelines.lake.files import PartitionWriter
from pipelines.lake.sql_text import sql_equals
from pipelines.stage import WrittenFile

if TYPE_CHECKING:
    import pyarrow as pa

_ATTEMPTS = 5
"""How often a commit is prepared: another one can only come in between from a start that was taken
for dead, which is refused at its next one."""

AppTransaction = tuple[str, int]
"""Application id and version."""
Mode = Literal["append", "overwrite", "overwrite run"]
"""Add the files; or replace exactly the writer's partition by them, or all partitions of its run."""


@dataclass(frozen=True)
class Committed:
    """The outcome of a commit."""

    version: int
    """The table's version that holds the rows."""
    is_new: bool
    """False if the transaction was already recorded, by this start or another."""


def committed_transaction(writer: PartitionWriter, app_id: str) -> int:
    """The version last recorded for an application id; 0 if there is none, or no table yet."""
    if not writer.location.has_table(writer.table.name):
        return 0
    return _newest(writer).transaction_version(app_id) or 0


def latest_version(writer: PartitionWriter) -> int:
    """The table's newest version."""
    return _newest(writer).version()


def transaction_of(app_id: str, files: Sequence[WrittenFile]) -> AppTransaction:
    """The transaction of a chunk of a stream: it identifies what the chunk holds, not its turn."""
    content = "".join(sorted(file.content for file in files))
    return f"{app_id}/{hashlib.sha256(content.encode()).hexdigest()[:32]}", 1


def commit(
    writer: PartitionWriter,
    files: Sequence[WrittenFile],
    mode: Mode,
    transaction: AppTransaction,
    message: Mapping[str, object],
    fence: Fence,
    also: Sequence[AppTransaction] = (),
) -> Committed:
    """Commit files to the writer's partition, unless the transaction is already recorded.

    Args:
        writer: the partition's writer.
        files: the files it wrote.
        mode: what the files replace.
        transaction: identifies what is committed.
        message: kept in the commit as JSON under `userMetadata`, where Spark shows it too.
        fence: the start's.
        also: further transactions that are recorded with it.

    Raises:
        LakeError: another start has taken the run.
    """
    app_id, version = transaction
    for _ in range(_ATTEMPTS):
        table = _newest(writer)
        fence.require(table)
        if (table.transaction_version(app_id) or 0) >= version:
            return Committed(table.version(), is_new=False)
        try:
            recorded = list(dict.fromkeys([transaction, *also, fence.transaction]))
            add_files(table, writer, files, recorded, message, mode)
        except CommitFailedError:
            continue
        return Committed(table.version(), is_new=True)
    raise _too_many(writer)


def raise_fence(writer: PartitionWriter, fence: Fence) -> int:
    """Shut earlier starts out of a table: what is read at the returned version stays complete.

    Returns:
        The table's version, from which on no earlier start commits to it.

    Raises:
        LakeError: a later start has taken the run.
    """
    return commit(writer, [], "append", fence.transaction, {"run": fence.run_id}, fence).version


def add_files(
    table: DeltaTable,
    writer: PartitionWriter,
    files: Sequence[WrittenFile],
    transactions: Sequence[AppTransaction],
    message: Mapping[str, object],
    mode: Mode = "append",
) -> None:
    """Commit files, prepared from the table as it was opened; it is then at the new version.

    Raises:
        CommitFailedError: delta-rs's; one of the transactions' application ids was committed since
            the table was opened.
    """
    partition = writer.partition
    replaced = {"run_id": writer.run_id} if mode == "overwrite run" else partition
    modified = int(time.time() * 1000)
    table.create_write_transaction(
        [
            AddAction(
                path=file.path,
                size=file.size,
                partition_values=partition,
                modification_time=modified,
                data_change=True,
                stats=file.stats,
            )
            for file in files
        ],
        "append" if mode == "append" else "overwrite",
        table.schema(),
        partition_by=list(writer.table.partition_by),
        partition_filters=None
        if mode == "append"
        else [(key, "=", value) for key, value in replaced.items()],
        commit_properties=_properties(transactions, message),
    )
    table.update_incremental()


def replace_slice(
    writer: PartitionWriter,
    rows: pa.Table,
    where: str,
    transaction: AppTransaction,
    message: Mapping[str, object],
    fence: Fence,
) -> Committed:
    """Replace some rows of the writer's partition in one commit; its other rows stay as they are.

    Args:
        writer: the partition's writer.
        rows: the new rows, complete; each of them fulfils `where`. If there are none, the old ones are removed.
        where: a SQL condition on the rows to replace.
        transaction: identifies the replacement; the slice's attempts are numbered.
        message: as for `commit`.
        fence: the start's.

    Raises:
        LakeError: another start has taken the run.
    """
    partition = sql_equals(run_id=writer.run_id, iteration=writer.iteration)
    condition = f"{partition} AND ({where})"
    app_id, version = transaction
    for _ in range(_ATTEMPTS):
        table = _newest(writer)
        fence.require(table)
        if (table.transaction_version(app_id) or 0) >= version:
            return Committed(table.version(), is_new=False)
        properties = _properties([transaction, fence.transaction], message)
        try:
            if rows.num_rows:
                write_deltalake(
                    table,
                    rows,
                    mode="overwrite",
                    predicate=condition,
                    commit_properties=properties,
                )
            else:
                table.delete(condition, commit_properties=properties)
        except CommitFailedError:
            continue
        table.update_incremental()
        return Committed(table.version(), is_new=True)
    raise _too_many(writer)


def _too_many(writer: PartitionWriter) -> LakeError:
    return LakeError(
        f"{writer.table.name}: {_ATTEMPTS} commits in a row met another process's; start this command "
        "again"
    )


def _newest(writer: PartitionWriter) -> DeltaTable:
    return writer.location.open_table(writer.table.name)


def _properties(
    transactions: Sequence[AppTransaction], message: Mapping[str, object]
) -> CommitProperties:
    return CommitProperties(
        app_transactions=[Transaction(*one) for one in transactions],
        custom_metadata={"userMetadata": json.dumps(message, sort_keys=True)},
    )
