"""Rules of leases beyond its schema: none, since the lake writes this table itself."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import Rule


def expectations(context: Context) -> list[Rule]:
    """No further rules."""
    return []
