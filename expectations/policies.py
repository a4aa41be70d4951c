"""Rules of policies beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtLeast, RowCount, Rule


def expectations(context: Context) -> list[Rule]:
    """One policy per iteration, with an epoch that was run."""
    return [RowCount(1, 1, name="one policy per iteration"), AtLeast("num_epochs", "epoch")]
