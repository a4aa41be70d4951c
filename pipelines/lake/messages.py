"""The messages of commits: what a stage has cost so far, and what it was made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.lake.files import PartitionWriter

_LOOK_BACK = (20, 200, None)
"""Number of commits read, newest first, until one is found; None: all that the log has."""


def newest_message(
    writer: PartitionWriter, key: Mapping[str, object], field: str = "seconds"
) -> dict[str, Any]:
    """The message of the newest commit of a stage's attempt; empty if there is none.

    Args:
        writer: of the stage's partition.
        key: what the message must have: run, iteration, stage, attempt.
        field: a further field that it must have, whatever its value.
    """
    found = _newest(writer, key, field)
    return {} if found is None else found[1]


def version_of_message(writer: PartitionWriter, key: Mapping[str, object]) -> int:
    """The version of a table that the commit of a message made; the commit is known to be there."""
    found = _newest(writer, key, next(iter(key)))
    assert found is not None, f"{writer.table.name} has no commit of {dict(key)}"
    return found[0]


def _newest(
    writer: PartitionWriter, key: Mapping[str, object], field: str
) -> tuple[int, dict[str, Any]] | None:
    """The version and the message of the newest commit that has such a message."""
    table = writer.location.open_table(writer.table.name)
    for limit in _LOOK_BACK:
        history = table.history(limit)
        for entry in history:
            message = _parsed(entry.get("userMetadata"))
            if field in message and all(message.get(k) == v for k, v in key.items()):
                return int(entry["version"]), message
        if limit is None or len(history) < limit:
            break
    return None


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        message = json.loads(text or "{}")
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
