"""Commits: files into a table, exactly once, with the reason in the log.

Every commit carries a Delta transaction (application id, version). Spark skips a transaction that
is already recorded; delta-rs records it but does not skip, so it is looked up first. Two writers
that race on one transaction conflict, and one of them fails.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import LakeError
from pipelines.lake.answers import quoted
from pipelines.lake.files import PartitionWriter
from pipelines.stage import WrittenFile

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable


def committed_transaction(writer: PartitionWriter, app_id: str) -> int:
    """The version last recorded for an application id; 0 if there is none, or no table yet."""
    from deltalake import DeltaTable

    uri, options = writer.location.table(writer.table.name), writer.location.storage_options
    if not DeltaTable.is_deltatable(uri, storage_options=options):
        return 0
    return int(_newest(writer).transaction_version(app_id) or 0)


def latest_version(writer: PartitionWriter) -> int:
    """The table's newest version."""
    return int(_newest(writer).version())


def commit(
    writer: PartitionWriter,
    files: Sequence[WrittenFile],
    mode: Literal["append", "overwrite"],
    transaction: tuple[str, int],
    message: dict[str, Any],
) -> int:
    """Commit files to the writer's partition, unless the transaction is already recorded.

    Args:
        writer: the partition's writer.
        files: what it wrote.
        mode: "append" adds the files; "overwrite" replaces exactly the partition.
        transaction: application id and version.
        message: kept in the commit as JSON under `userMetadata`, where Spark shows it too.

    Returns:
        The table's version after the commit.

    Raises:
        LakeError: another process committed the same transaction at the same time.
    """
    from deltalake.exceptions import CommitFailedError

    table = _newest(writer)
    app_id, version = transaction
    if (table.transaction_version(app_id) or 0) >= version:
        return int(table.version())
    partition = writer.partition
    filters = [(key, "=", value) for key, value in partition.items()]
    try:
        table.create_write_transaction(
            [_add(file, partition) for file in files],
            mode,
            table.schema(),
            partition_by=list(writer.table.partition_by),
            partition_filters=filters if mode == "overwrite" else None,
            commit_properties=_properties(transaction, message),
        )
    except CommitFailedError as error:
        raise LakeError(
            f"{writer.table.name}: another process committed {app_id} at the same time ({error}); "
            "let one of them finish, then start this command again"
        ) from None
    table.update_incremental()
    return int(table.version())


def replace_slice(
    writer: PartitionWriter,
    rows: pa.Table,
    where: str,
    transaction: tuple[str, int],
    message: dict[str, Any],
) -> int:
    """Replace some rows of the writer's partition in one commit; its other rows stay as they are.

    Args:
        writer: the partition's writer.
        rows: the new rows, complete; every one fulfils `where`.
        where: a SQL condition on the rows that are replaced.
        transaction: application id and version.
        message: as for `commit`.

    Returns:
        The table's version after the commit.

    Raises:
        LakeError: another process changed the same rows at the same time.
    """
    from deltalake import write_deltalake
    from deltalake.exceptions import CommitFailedError

    table = _newest(writer)
    own = " AND ".join(
        f"{key} = {quoted(int(value) if key == 'iteration' else value)}"
        for key, value in writer.partition.items()
    )
    try:
        write_deltalake(
            table,
            rows,
            mode="overwrite",
            predicate=f"{own} AND ({where})",
            commit_properties=_properties(transaction, message),
        )
    except CommitFailedError as error:
        raise LakeError(
            f"{writer.table.name}: another process changed the same rows at the same time "
            f"({error}); start this command again"
        ) from None
    table.update_incremental()
    return int(table.version())


def _newest(writer: PartitionWriter) -> DeltaTable:
    from deltalake import DeltaTable

    uri, options = writer.location.table(writer.table.name), writer.location.storage_options
    return DeltaTable(uri, storage_options=options)


def _properties(transaction: tuple[str, int], message: dict[str, Any]) -> CommitProperties:
    from deltalake import CommitProperties, Transaction

    return CommitProperties(
        app_transactions=[Transaction(*transaction)],
        custom_metadata={"userMetadata": json.dumps(message, sort_keys=True)},
    )


def _add(file: WrittenFile, partition: dict[str, str]) -> Any:
    from deltalake.transaction import AddAction

    return AddAction(
        path=file.path,
        size=file.size,
        partition_values=dict(partition),
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=file.stats,
    )
