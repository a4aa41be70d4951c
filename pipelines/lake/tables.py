"""Creating the lake's tables, and refusing a lake that another version made."""

from __future__ import annotations

from pipelines.config import LakeConfig
from pipelines.errors import LakeError
from pipelines.lake.location import Location
from schemas import TABLES
from schemas.table import Table


def refuse_another_version(location: Location) -> None:
    """Check the tables that are there; nothing is written.

    Raises:
        LakeError: a table has other columns than this version declares, or cannot be read.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        for table in TABLES:
            uri, options = location.table(table.name), location.storage_options
            if DeltaTable.is_deltatable(uri, storage_options=options):
                _same_columns(table, DeltaTable(uri, storage_options=options), location)
    except (DeltaError, OSError) as error:
        raise LakeError(f"lake.uri: cannot use {location.uri}: {_first_line(error)}") from None


def exists(location: Location, table: Table) -> bool:
    """Whether the lake has the table."""
    from deltalake import DeltaTable

    uri, options = location.table(table.name), location.storage_options
    return bool(DeltaTable.is_deltatable(uri, storage_options=options))


def create_tables(location: Location, config: LakeConfig) -> None:
    """Create the tables that are not there yet.

    Reader version 1 and writer version 2, so that Spark, delta-rs, DuckDB and Ray can all read and
    write them. Retention is set when a table is created: Spark refuses time travel past it.

    Raises:
        LakeError: the place cannot be written.
    """
    from deltalake.exceptions import DeltaError

    try:
        for table in TABLES:
            _create(table, location, config)
    except (DeltaError, OSError) as error:
        raise LakeError(f"lake.uri: cannot use {location.uri}: {_first_line(error)}") from None


def _create(table: Table, location: Location, config: LakeConfig) -> None:
    from deltalake import DeltaTable

    uri = location.table(table.name)
    options = location.storage_options
    if DeltaTable.is_deltatable(uri, storage_options=options):
        return
    if location.is_local:
        (location.folder / table.name).mkdir(parents=True, exist_ok=True)
    days = f"interval {config.retention_days} days"
    DeltaTable.create(
        uri,
        schema=table.arrow_schema(),
        mode="ignore",
        partition_by=list(table.partition_by),
        name=table.name,
        description=table.grain,
        configuration={
            "delta.logRetentionDuration": days,
            "delta.deletedFileRetentionDuration": days,
            "delta.checkpointInterval": "20",
        },
        storage_options=options,
    )


def _same_columns(table: Table, found: object, location: Location) -> None:
    fields = found.schema().fields  # type: ignore[attr-defined]
    there = {field.name for field in fields}
    declared = set(table.column_names)
    if there != declared:
        raise LakeError(
            f"lake.uri: {location.uri} was made by another version of restem: table "
            f"{table.name} lacks {sorted(declared - there)} and has {sorted(there - declared)}; "
            "use another lake.uri, or the version that made it"
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
