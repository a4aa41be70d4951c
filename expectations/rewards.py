"""Rules of rewards beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import NoneOf, NothingFound, RowCount, Rule


def expectations(context: Context) -> list[Rule]:
    """One verdict per sample, no verdict without a sample, few failures of the checker."""
    rules: list[Rule] = []
    if context.expected_rows is not None:
        rules.append(RowCount(context.expected_rows, context.expected_rows))
    if context.max_checker_failures is not None:
        limit, usual = context.max_checker_failures, context.usual_checker_failure
        rules.append(
            NoneOf(
                "verdict",
                context.checker_failures,
                limit,
                name=f"the checker failed on at most {limit:.1%} of samples",
                remedy=(f"most often it {usual}; " if usual else "")
                + "look at these solutions (the view sample_verdicts has them, and in `detail` what "
                "failed), mend the reward, and start the same command again: it scores these samples "
                "again",
            )
        )
    for found, what in (
        (context.samples_without_verdict, "sample without a verdict"),
        (context.verdicts_without_sample, "verdict without a sample"),
    ):
        if found is not None:
            remedy = "start the run again: samples without a verdict are scored"
            rules.append(NothingFound(found, what, remedy=remedy))
    return rules
