"""Creating the lake's tables, and refusing a lake that another version of restem made."""

from __future__ import annotations

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines.config import LakeConfig
from pipelines.errors import LakeError, first_line
from pipelines.lake.location import Location
from pipelines.lake.torn_log import refuse_torn_log
from schemas import TABLES
from schemas.table import Table


def refuse_another_version(location: Location) -> None:
    """Check the columns of the tables that are there; nothing is written.

    Raises:
        LakeError: a table has other columns than this version declares, or cannot be read.
    """
    for table in TABLES:
        try:
            if location.has_table(table.name):
                _require_declared_columns(table, location)
        except (DeltaError, OSError) as error:
            refuse_torn_log(location, table.name)
            raise LakeError(f"lake.uri: cannot use {location.uri}: {first_line(error)}") from None


def _require_declared_columns(table: Table, location: Location) -> None:
    stored = {field.name for field in location.open_table(table.name).schema().fields}
    declared = set(table.column_names)
    if stored != declared:
        differences = [
            f"{what} {', '.join(sorted(columns))}"
            for what, columns in (("lacks", declared - stored), ("also has", stored - declared))
            if columns
        ]
        raise LakeError(
            f"lake.uri: {location.uri} was made by another version of restem: table {table.name} "
            f"{' and '.join(differences)}; use another lake.uri, or the version that made it"
        )


def create_tables(location: Location, config: LakeConfig) -> None:
    """Create the tables that are not there yet.

    Reader version 1 and writer version 2, so that Spark, delta-rs, DuckDB and Ray can all read and
    write them. Retention is set when a table is created: Spark refuses time travel past it.

    Raises:
        LakeError: the location cannot be written.
    """
    retention = f"interval {config.retention_days} days"
    try:
        for table in TABLES:
            if location.has_table(table.name):
                continue
            if location.is_local:
                (location.folder / table.name).mkdir(parents=True, exist_ok=True)
            try:
                _create(table, location, retention)
            except DeltaError:
                # Another run of the lake, started at the same time, has created it meanwhile.
                if not location.has_table(table.name):
                    raise
    except (DeltaError, OSError) as error:
        raise LakeError(f"lake.uri: cannot use {location.uri}: {first_line(error)}") from None


def _create(table: Table, location: Location, retention: str) -> None:
    DeltaTable.create(
        location.table(table.name),
        schema=table.arrow_schema(),
        mode="ignore",
        partition_by=list(table.partition_by),
        name=table.name,
        description=table.grain,
        configuration={
            "delta.logRetentionDuration": retention,
            "delta.deletedFileRetentionDuration": retention,
            "delta.checkpointInterval": "20",
        },
        storage_options=location.storage_options,
    )
