"""Rules of samples beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtLeast, NoneOf, RowCount, Rule, Unique, mean_near_last
from schemas.checks import WARNING
from schemas.samples import LENGTH


def expectations(context: Context) -> list[Rule]:
    """N solutions per prompt, few of them cut off, about as long as in the last iteration."""
    rules: list[Rule] = [
        Unique(("prompt_id", "index")),
        AtLeast("max_tokens", "num_tokens"),
        NoneOf(
            "finish_reason",
            (LENGTH,),
            context.max_truncated_share,
            severity=WARNING,
            remedy="raise sampling.max_tokens, in a run of another name (--name)",
        ),
    ]
    if context.expected_rows is not None:
        rules.append(
            RowCount(
                context.expected_rows,
                context.expected_rows,
                name="rows = prompts x num_samples",
                remedy="start the run again: missing samples are drawn",
            )
        )
    if context.last_mean_tokens:
        rules.append(mean_near_last("num_tokens", context.last_mean_tokens, context.max_change))
    return rules
