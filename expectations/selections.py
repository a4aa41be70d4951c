"""What must hold of selections, beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import NoneOf, OneOf, RowCount, Rule
from schemas.checks import WARNING
from schemas.selections import BELOW_THRESHOLD


def expectations(context: Context) -> list[Rule]:
    """Every training sample is decided on, about as many accepted as an iteration before."""
    rules: list[Rule] = []
    if context.expected_rows is not None:
        rules.append(RowCount(context.expected_rows, context.expected_rows))
    # From nothing accepted, anything is a jump: there is no factor to hold it against.
    if context.last_accepted_share:
        rules += _near(context.last_accepted_share, context.max_change)
    return rules


def _near(last: float, factor: float) -> list[Rule]:
    low, high = last / factor, min(1.0, last * factor)
    refused = (BELOW_THRESHOLD,)
    return [
        NoneOf(
            "reason",
            refused,
            1 - low,
            severity=WARNING,
            name="accepted share has not collapsed since the last iteration",
            remedy="look at the policy's samples; fewer epochs or a lower learning rate may help",
        ),
        OneOf(
            "reason",
            refused,
            1 - high,
            severity=WARNING,
            name="accepted share has not jumped since the last iteration",
            remedy="look for solutions that please the verifier without solving the problem",
        ),
    ]
