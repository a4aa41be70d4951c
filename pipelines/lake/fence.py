"""The fence: the transaction by which a table refuses the commits of a start that lost its run.

Every commit of a run records the transaction (`restem/{run}/start`, number of its start) in the table
that it changes. Delta refuses a commit if another one with the same application id was made since
the version that it was prepared from. So of two commits of one run to one table, one always sees the
other: it is prepared again, finds the greater number, and stops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import HeldByAnother

if TYPE_CHECKING:
    from deltalake import DeltaTable


@dataclass(frozen=True)
class Fence:
    """The number of a start, which its commits record."""

    run_id: str
    start: int

    @property
    def app_id(self) -> str:
        """The application id of the run's starts."""
        return starts_of(self.run_id)

    @property
    def transaction(self) -> tuple[str, int]:
        """What a commit of this start records."""
        return self.app_id, self.start

    def require(self, table: DeltaTable) -> None:
        """Check that no later start has written to the table.

        Args:
            table: at the version that a commit is prepared from.

        Raises:
            HeldByAnother: one has.
        """
        newest = table.transaction_version(self.app_id) or 0
        if newest > self.start:
            raise HeldByAnother(
                f"run {self.run_id!r} was taken over by another start (start {newest}; this one is "
                f"{self.start}), since this one seemed to be dead; what this one had not committed "
                "is made by the other: let it finish"
            )


def starts_of(run_id: str) -> str:
    """The application id of a run's starts."""
    return f"restem/{run_id}/start"
