"""The messages of commits: what a stage has cost so far, and what it was made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.lake.files import PartitionWriter

_LOOK_BACK = (20, 200, None)
"""Number of commits read, newest first, until one is found; None: all that the log has."""


def newest_message(writer: PartitionWriter, key: Mapping[str, object]) -> dict[str, Any]:
    """The message of the newest commit of a stage's attempt; empty if there is none.

    Args:
        writer: of the stage's partition.
        key: fields that the message must have: run, iteration, stage, attempt.
    """
    table = writer.location.open_table(writer.table.name)
    for limit in _LOOK_BACK:
        history = table.history(limit)
        for entry in history:
            message = _parsed(entry.get("userMetadata"))
            if "seconds" in message and all(message.get(k) == v for k, v in key.items()):
                return message
        if limit is None or len(history) < limit:
            break
    return {}


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        message = json.loads(text or "{}")
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
