"""Rules of evaluations beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtLeast, Between, RowCount, Rule, Where

NOT_A_SHARE = ("train_test_gap", "mean_reward", "greedy_reward", "graded_points")
"""Metrics that may lie outside [0, 1]: a difference, means of a user's own reward, points."""


def expectations(context: Context) -> list[Rule]:
    """Values lie within their intervals, and shares of problems within [0, 1]."""
    return [
        RowCount(1, name="at least one metric"),
        AtLeast("value", "ci_low"),
        AtLeast("ci_high", "value"),
        Between("value", 0, 1, Where("metric", NOT_A_SHARE, excluded=True)),
    ]
