"""Commit files to a table exactly once, with the stage's message in the log.

Every commit carries a Delta transaction (application id, version). Spark skips a transaction that
is already recorded; delta-rs records it but does not skip, so it is looked up first. Two writers
that race on one transaction conflict, and one of them fails.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction

from pipelines.errors import LakeError
from pipelines.lake.files import PartitionWriter
from pipelines.lake.sql_text import sql_equals
from pipelines.stage import WrittenFile

if TYPE_CHECKING:
    import pyarrow as pa


def committed_transaction(writer: PartitionWriter, app_id: str) -> int:
    """The version last recorded for an application id; 0 if there is none, or no table yet."""
    if not writer.location.has_table(writer.table.name):
        return 0
    return _newest(writer).transaction_version(app_id) or 0


def latest_version(writer: PartitionWriter) -> int:
    """The table's newest version."""
    return _newest(writer).version()


def commit(
    writer: PartitionWriter,
    files: Sequence[WrittenFile],
    mode: Literal["append", "overwrite"],
    transaction: tuple[str, int],
    message: Mapping[str, object],
) -> int:
    """Commit files to the writer's partition, unless the transaction is already recorded.

    Args:
        writer: the partition's writer.
        files: the files it wrote.
        mode: "append" adds the files; "overwrite" replaces exactly the partition.
        transaction: application id and version.
        message: kept in the commit as JSON under `userMetadata`, where Spark shows it too.

    Returns:
        The table's version after the commit.

    Raises:
        LakeError: another process committed the same transaction at the same time.
    """
    table = _newest(writer)
    app_id, version = transaction
    if (table.transaction_version(app_id) or 0) >= version:
        return table.version()
    partition = writer.partition
    modified = int(time.time() * 1000)
    try:
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
            mode,
            table.schema(),
            partition_by=list(writer.table.partition_by),
            partition_filters=[(key, "=", value) for key, value in partition.items()]
            if mode == "overwrite"
            else None,
            commit_properties=_properties(transaction, message),
        )
    except CommitFailedError as error:
        raise LakeError(
            f"{writer.table.name}: another process committed {app_id} at the same time ({error}); "
            "let one of them finish, then start this command again"
        ) from None
    table.update_incremental()
    return table.version()


def replace_slice(
    writer: PartitionWriter,
    rows: pa.Table,
    where: str,
    transaction: tuple[str, int],
    message: Mapping[str, object],
) -> int:
    """Replace some rows of the writer's partition in one commit; its other rows stay as they are.

    Args:
        writer: the partition's writer.
        rows: the new rows, complete; each of them fulfils `where`.
        where: a SQL condition on the rows to replace.
        transaction: application id and version.
        message: as for `commit`.

    Returns:
        The table's version after the commit.

    Raises:
        LakeError: another process changed the same rows at the same time.
    """
    table = _newest(writer)
    partition = sql_equals(run_id=writer.run_id, iteration=writer.iteration)
    try:
        write_deltalake(
            table,
            rows,
            mode="overwrite",
            predicate=f"{partition} AND ({where})",
            commit_properties=_properties(transaction, message),
        )
    except CommitFailedError as error:
        raise LakeError(
            f"{writer.table.name}: another process changed the same rows at the same time "
            f"({error}); start this command again"
        ) from None
    table.update_incremental()
    return table.version()


def _newest(writer: PartitionWriter) -> DeltaTable:
    return writer.location.open_table(writer.table.name)


def _properties(transaction: tuple[str, int], message: Mapping[str, object]) -> CommitProperties:
    return CommitProperties(
        app_transactions=[Transaction(*transaction)],
        custom_metadata={"userMetadata": json.dumps(message, sort_keys=True)},
    )
