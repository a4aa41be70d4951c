"""Rules of selections beyond their schema."""

from __future__ import annotations

from expectations.check_result import percent
from expectations.context import Context
from expectations.rule import NoneOf, OneOf, RowCount, Rule
from schemas.checks import WARNING
from schemas.selections import NOT_ACCEPTED


def expectations(context: Context) -> list[Rule]:
    """One decision per training sample, and about the last iteration's share of them accepted."""
    rules: list[Rule] = []
    if context.expected_rows is not None:
        rules.append(RowCount(context.expected_rows, context.expected_rows))
    last = context.last_accepted_share
    if not last:  # No factor leads from a share of 0 to another share.
        return rules
    refused = NOT_ACCEPTED
    basis = (
        f"{percent(last)} accepted in the last iteration; "
        f"may change by a factor of {context.max_change:g}"
    )
    rules += [
        NoneOf(
            "reason",
            refused,
            1 - last / context.max_change,
            severity=WARNING,
            name="accepted share has not collapsed since the last iteration",
            remedy="look at the policy's samples; fewer epochs or a lower learning rate may help, "
            "in a run of another name (--name)",
            basis=basis,
        ),
        OneOf(
            "reason",
            refused,
            1 - min(1.0, last * context.max_change),
            severity=WARNING,
            name="accepted share has not jumped since the last iteration",
            remedy="look for solutions that please the verifier without solving the problem",
            basis=basis,
        ),
    ]
    return rules
