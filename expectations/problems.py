"""Rules of problems beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtMostPer, NothingFound, RowCount, Rule


def expectations(context: Context) -> list[Rule]:
    """There are problems, no question is in two splits, and references pass their own verifier."""
    rules: list[Rule] = [
        RowCount(1, remedy="look at problems.sources: nothing was read"),
        AtMostPer(
            "question",
            1,
            counted="split",
            normalized=True,
            name="no question (normalized) is in two splits",
            remedy="remove the question from all splits but one",
        ),
    ]
    if context.refused_references is not None:
        rules.append(
            NothingFound(
                context.refused_references,
                "reference that its own verifier refuses",
                remedy="correct the reference, or choose another reward.function",
            )
        )
    return rules
