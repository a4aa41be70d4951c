"""Rules of the training set beyond its schema.

The schema implies that every row has labelled tokens and no weight is negative.
"""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtMostPer, NothingFound, RowCount, Rule, mean_near_last


def expectations(context: Context) -> list[Rule]:
    """At least one row, at most `cutoff` rows per problem, none of an evaluation problem."""
    rules: list[Rule] = [
        RowCount(
            1,
            name="at least one solution was kept",
            remedy="draw more (sampling.num_samples_per_problem), add exemplars, "
            "or take easier problems, in a run of another name (--name)",
        )
    ]
    if context.cutoff is not None:
        rules.append(AtMostPer("problem_id", context.cutoff))
    for found, what in (
        (context.evaluation_problems_in_training, "problem"),
        (context.evaluation_questions_in_training, "question (normalized)"),
    ):
        if found is not None:
            rules.append(
                NothingFound(
                    found,
                    f"{what} of an evaluation set in training",
                    remedy="remove the problem from problems.sources, or from the evaluation set, "
                    "in a run of another name (--name)",
                )
            )
    if context.last_mean_tokens:
        rules.append(mean_near_last("num_tokens", context.last_mean_tokens, context.max_change))
    return rules
