"""A table's log that cannot be read because its newest file is not whole."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.errors import LakeError
from pipelines.lake.location import Location


def refuse_torn_log(location: Location, table: str) -> None:
    """Name the newest file of a table's log if it is not whole; for a table that cannot be read.

    delta-rs and Spark write a log file aside and give it its name when it is whole, and object stores
    show whole objects only. So the file was torn by a writer that does neither, or when the machine
    lost its power.

    Raises:
        LakeError: the file is not whole.
    """
    if not location.is_local:
        return
    newest = max((location.folder / table / "_delta_log").glob("0*.json"), default=None)
    if newest is not None and not _is_whole(newest):
        raise LakeError(
            f"{table}: its newest log file {newest} is not whole, so that the table cannot be read; "
            "what it was to commit is lost: move it away, and the same command goes on"
        )


def _is_whole(file: Path) -> bool:
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            json.loads(line)
    except (OSError, ValueError):
        return False
    return True
