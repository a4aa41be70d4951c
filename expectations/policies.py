"""What must hold of policies, beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtLeast, RowCount, Rule


def expectations(context: Context) -> list[Rule]:
    """One policy an iteration, and an epoch that was run."""
    return [RowCount(1, 1, name="one policy an iteration"), AtLeast("num_epochs", "epoch")]
