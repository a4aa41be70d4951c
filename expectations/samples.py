"""What must hold of samples, beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtLeast, Mean, NoneOf, RowCount, Rule, Unique
from schemas.checks import WARNING
from schemas.samples import LENGTH


def expectations(context: Context) -> list[Rule]:
    """N solutions a prompt, few of them cut off, about as long as an iteration before."""
    rules: list[Rule] = [
        Unique(("prompt_id", "index")),
        AtLeast("max_tokens", "num_tokens"),
        NoneOf(
            "finish_reason",
            (LENGTH,),
            context.max_truncated_share,
            severity=WARNING,
            remedy="raise sampling.max_tokens",
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
        low, high = context.last_mean_tokens / context.max_change, context.last_mean_tokens
        rules.append(
            Mean("num_tokens", low, high * context.max_change, severity=WARNING, name=_MEAN)
        )
    return rules


_MEAN = "mean of num_tokens is near the last iteration's"
