"""Delete a run: one commit per table removes its rows, and earlier versions keep them.

The run's name is free when the last of these commits, that of `runs`, is made. A deletion that was
killed before goes on when it is repeated; until then nothing else is done with the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.lake.commit import commit
from pipelines.lake.files import PartitionWriter
from schemas import LEASES, RUNS, TABLES

if TYPE_CHECKING:
    from pipelines.lake.fence import Fence
    from pipelines.lake.run_state import RunState

_DELETED = "deleted_run"
_TABLES = {table.name: table for table in TABLES}


def delete_rows(state: RunState, fence: Fence) -> None:
    """Remove a run's rows from all tables, and free its name.

    Args:
        state: of the run, whose deletion has begun.
        fence: of the start that deletes it.
    """
    message = {_DELETED: state.run_id}
    removals = {table.name: 1 for table in TABLES if table not in (RUNS, LEASES)}
    # The starts last, those of this deletion among them: until then a second one sees it at work.
    for name, number in [*removals.items(), (LEASES.name, fence.start)]:
        if state.location.has_table(name):
            writer = PartitionWriter(_TABLES[name], state.location, state.run_id, 0)
            removal = (state.app_id("removal"), number)
            # In every table, also where it has no row: from here on no earlier start adds any.
            commit(writer, [], "overwrite run", removal, message, fence)
    state.end_deletion(fence, message)


def deleted_run(action: Mapping[str, Any]) -> str | None:
    """The run whose rows a commit removed from its table, from an action of Delta's log."""
    text = action.get("commitInfo", {}).get("userMetadata")
    try:
        message = json.loads(text or "{}")
    except ValueError:
        return None
    return message.get(_DELETED) if isinstance(message, dict) else None
