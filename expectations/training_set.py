"""What must hold of the training set, beyond its schema.

That every row has labelled tokens and no weight is negative follows from the schema.
"""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtMostPer, Found, Mean, NothingFound, RowCount, Rule
from schemas.checks import WARNING


def expectations(context: Context) -> list[Rule]:
    """There is something to learn from, at most `cutoff` rows a problem, nothing to be tested on."""
    rules: list[Rule] = [
        RowCount(
            1,
            name="at least one solution was kept",
            remedy="draw more (sampling.num_samples_per_problem), add exemplars, "
            "or take easier problems",
        )
    ]
    if context.cutoff is not None:
        rules.append(AtMostPer("problem_id", context.cutoff))
    rules += _nothing(
        context.evaluation_problems_in_training, "problem of an evaluation set in training"
    )
    rules += _nothing(
        context.evaluation_questions_in_training,
        "question (normalized) of an evaluation set in training",
    )
    if context.last_mean_tokens:
        low, high = context.last_mean_tokens / context.max_change, context.last_mean_tokens
        rules.append(
            Mean(
                "num_tokens",
                low,
                high * context.max_change,
                severity=WARNING,
                name="mean of num_tokens is near the last iteration's",
            )
        )
    return rules


def _nothing(found: Found | None, what: str) -> list[Rule]:
    remedy = "remove the problem from problems.sources, or from the evaluation set"
    return [] if found is None else [NothingFound(found, what, remedy=remedy)]
