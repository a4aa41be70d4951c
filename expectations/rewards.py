"""What must hold of rewards, beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import Found, NoneOf, NothingFound, RowCount, Rule


def expectations(context: Context) -> list[Rule]:
    """A verdict for every sample, a sample for every verdict, few failures of the checker."""
    rules: list[Rule] = []
    if context.expected_rows is not None:
        rules.append(RowCount(context.expected_rows, context.expected_rows))
    if context.max_checker_failures is not None:
        limit = context.max_checker_failures
        rules.append(
            NoneOf(
                "verdict",
                context.checker_failures,
                limit,
                name=f"the checker failed on at most {limit:.1%} of samples",
                remedy="look at these solutions; then raise reward.timeout_seconds, "
                "or reward.max_checker_failures",
            )
        )
    rules += _nothing(context.samples_without_verdict, "sample without a verdict")
    rules += _nothing(context.verdicts_without_sample, "verdict without a sample")
    return rules


def _nothing(found: Found | None, what: str) -> list[Rule]:
    remedy = "start the run again: samples without a verdict are scored"
    return [] if found is None else [NothingFound(found, what, remedy=remedy)]
