"""A run as a whole: how often its name was deleted, and whether a change of all of it is unfinished.

`restem runs` forks, renames and deletes runs, in one commit per table. The table `runs` records, as
transactions of the run's name:

- `restem/{run}/change`: a number that is odd while such a change is at work or was interrupted.
  Nothing else is done with the run until the same command, or a deletion, has made it even.
- `restem/{run}/deleted`: how often a run of this name was deleted. It is part of the application ids
  of the name's later commits (`RunState.app_id`): what the deleted run committed would otherwise be
  taken for committed already.

The numbers of starts (pipelines/lake/fence.py) go on across deletions, so that a start of a deleted
run that was taken for dead commits nothing to a later run of the same name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import LakeError
from pipelines.lake.commit import AppTransaction, commit, raise_fence
from pipelines.lake.files import PartitionWriter
from pipelines.lake.messages import newest_message
from schemas import RUNS

if TYPE_CHECKING:
    from pipelines.lake.fence import Fence
    from pipelines.lake.location import Location

DELETION = "deletion"


@dataclass(frozen=True)
class RunState:
    """What `runs` records of a name, at one version of the table."""

    location: Location
    run_id: str
    num_deleted: int = 0
    change: int = 0

    @property
    def is_changing(self) -> bool:
        """Whether a fork, a renaming or a deletion has begun and not ended."""
        return self.change % 2 == 1

    def app_id(self, *parts: object) -> str:
        """The application id of a commit of the run; another one after its name was deleted."""
        name = f"{self.run_id}@{self.num_deleted}" if self.num_deleted else self.run_id
        return "/".join(["restem", name, *map(str, parts)])

    def require_whole(self) -> None:
        """Require that no change of the run is unfinished.

        Raises:
            LakeError: one is; the message has the command that finishes it.
        """
        if not self.is_changing:
            return
        message = newest_message(self.writer, {"run": self.run_id}, "command")
        command = message.get("command", f"restem runs delete {self.run_id}")
        removed = f"restem runs delete {self.run_id}"
        other = "" if command == removed else f", or remove the run: {removed}"
        raise LakeError(
            f"run {self.run_id!r}: a change of the whole run was interrupted; finish it with: "
            f"{command}{other}"
        )

    @property
    def writer(self) -> PartitionWriter:
        """Writes the run's row in `runs`."""
        return PartitionWriter(RUNS, self.location, self.run_id, 0)

    def has(self, change: str) -> bool:
        """Whether this change of the run was begun, or also ended."""
        if not self.location.has_table(RUNS.name):
            return False
        table = self.location.open_table(RUNS.name)
        return bool(table.transaction_version(self._app_id_of(change)))

    def begin(
        self, change: str, command: str, fence: Fence, details: Mapping[str, object] | None = None
    ) -> RunState:
        """Record that a change begins, or goes on; from here on nothing else is done with the run.

        Args:
            change: identifies it.
            command: what finishes it, for the messages of other commands.
            fence: of the start that makes it.
            details: what it changes, for `begun`.
        """
        number = self.change if self.is_changing else self.change + 1
        message = {"run": self.run_id, "change": change, "command": command, **(details or {})}
        also = [(_change_of(self.run_id), number)]
        commit(self.writer, [], "append", (self._app_id_of(change), 1), message, fence, also)
        raise_fence(self.writer, fence)  # where it goes on, and the commit is there
        return run_state(self.location, self.run_id)

    def begun(self, change: str) -> dict[str, Any]:
        """The details with which a change was begun first."""
        return newest_message(self.writer, {"run": self.run_id, "change": change}, "command")

    def end(self, fence: Fence, row: Mapping[str, Any], message: Mapping[str, object]) -> None:
        """Record that the change is complete, with the run's row in `runs`.

        Args:
            fence: of the start that makes it.
            row: without the columns that every table has.
            message: kept in the commit.
        """
        import pyarrow as pa

        schema = RUNS.arrow_schema(partition_columns=False)
        file = self.writer.write(pa.Table.from_pylist([dict(row)], schema))
        commit(self.writer, [file], "overwrite", self._ended, message, fence)

    def end_deletion(self, fence: Fence, message: Mapping[str, object]) -> None:
        """Record that the run is deleted: its name is free, and its transactions count no more."""
        also = [(f"restem/{self.run_id}/deleted", self.num_deleted + 1)]
        commit(self.writer, [], "overwrite", self._ended, message, fence, also)

    @property
    def _ended(self) -> AppTransaction:
        return _change_of(self.run_id), self.change + 1

    def _app_id_of(self, change: str) -> str:
        return self.app_id("change", hashlib.sha256(change.encode()).hexdigest()[:32])


def run_state(location: Location, run_id: str) -> RunState:
    """What the lake records of a name now."""
    if not location.has_table(RUNS.name):
        return RunState(location, run_id)
    table = location.open_table(RUNS.name)
    return RunState(
        location,
        run_id,
        table.transaction_version(f"restem/{run_id}/deleted") or 0,
        table.transaction_version(_change_of(run_id)) or 0,
    )


def _change_of(run_id: str) -> str:
    return f"restem/{run_id}/change"
