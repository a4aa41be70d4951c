"""Delta tables outside the lake: problem sets that a user names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def table_id(location: str) -> str | None:
    """The id that a Delta table keeps wherever it is moved; None if there is no table."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return str(DeltaTable(location).metadata().id)
    except DeltaError:
        return None


def external_batches(location: str, options: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
    """The rows of a Delta table.

    Args:
        location: folder or URI.
        options: `version`, and delta-rs's storage options.

    Raises:
        InputError: there is no such table, or no such version of it.
    """
    import pyarrow as pa
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    version = options.get("version")
    storage = {key: str(value) for key, value in options.items() if key != "version"}
    try:
        table = DeltaTable(location, version=version, storage_options=storage or None)
        yield from pa.table(table.scan().read_all()).to_batches()
    except TableNotFoundError:
        raise InputError(
            f"problems.sources.location: no Delta table at {location!r}; check the path"
        ) from None
    except (DeltaError, OSError) as error:
        at = "" if version is None else f" at version {version}"
        reason = " ".join(str(error).split())
        raise InputError(f"{location}: cannot be read as a Delta table{at} ({reason})") from None
