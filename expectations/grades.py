"""Rules of grades beyond their schema.

That every sample of the suite has a mark is checked when a sheet is read, where the sheet's row can
be named.
"""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtLeast, RowCount, Rule


def expectations(context: Context) -> list[Rule]:
    """No mark is above what its problem is worth."""
    return [RowCount(1, name="at least one mark"), AtLeast("max_points", "points")]
