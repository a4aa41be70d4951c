"""What must hold of stages: nothing beyond the schema; the lake writes this table itself."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import Rule


def expectations(context: Context) -> list[Rule]:
    """No further rule."""
    return []
