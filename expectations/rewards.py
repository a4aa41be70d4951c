"""Rules of rewards beyond their schema."""

from __future__ import annotations

from expectations.check_result import percent
from expectations.context import Checker, Context
from expectations.rule import Found, NothingFound, RowCount, Rule

_SLACK = 1e-9
"""Shares are not exact: without it, 7 failures of 100 could exceed 7 %."""


def expectations(context: Context) -> list[Rule]:
    """One verdict per sample, no verdict without a sample, few failures of each checker."""
    rules: list[Rule] = []
    if context.expected_rows is not None:
        rules.append(RowCount(context.expected_rows, context.expected_rows))
    rules += [_seldom_failed(checker) for checker in context.checkers]
    for found, what in (
        (context.samples_without_verdict, "sample without a verdict"),
        (context.verdicts_without_sample, "verdict without a sample"),
    ):
        if found is not None:
            remedy = "start the run again: samples without a verdict are scored"
            rules.append(NothingFound(found, what, remedy=remedy))
    return rules


def _seldom_failed(checker: Checker) -> Rule:
    """A rule for each reward: a small suite must not hide behind the many samples of another."""
    failed, share = checker.failed, checker.failed.count / max(checker.total, 1)
    allowed = share <= checker.max_share + _SLACK
    usual = f"most often it {checker.usual_failure}; " if checker.usual_failure else ""
    return NothingFound(
        Found(0) if allowed else failed,
        "failure of a checker above its limit",
        name=f"{checker.name} failed on at most {checker.max_share:.1%} of samples",
        basis=f"{percent(share)} of {checker.total:,} samples",
        remedy=f"{usual}look at these solutions (the view sample_verdicts has them, and in `detail` what "
        f"failed); fix the reward, or raise {checker.tolerances}, and start the same command again: it "
        "scores these samples again",
    )
