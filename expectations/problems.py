"""Rules of problems beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtMostPer, NothingFound, RowCount, Rule
from schemas.checks import WARNING


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
                remedy="correct the reference, choose another reward.function, or set "
                "problems.refused: drop",
            )
        )
    if context.problems_left_out is not None:
        rules.append(
            NothingFound(
                context.problems_left_out,
                "problem left out because its own verifier refuses its answer",
                severity=WARNING,
                remedy="they are in problems, with the split refused and the reason",
            )
        )
    return rules
