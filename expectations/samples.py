"""Rules of samples beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import AtLeast, NoneOf, RowCount, Rule, Unique, mean_near_last
from schemas.checks import WARNING
from schemas.samples import ENGINE_KILLED, LENGTH


def expectations(context: Context) -> list[Rule]:
    """N solutions per prompt, few of them cut off or without a solution, about as long as in the last iteration."""
    rules: list[Rule] = [
        Unique(("prompt_id", "index")),
        AtLeast("max_tokens", "num_tokens"),
        NoneOf(
            "finish_reason",
            (ENGINE_KILLED,),
            context.max_killed_share,
            remedy="the engine's log, in the run's folder logs, has its last words; raise "
            "engine.max_killed_share and start the same command again, or leave these problems out, "
            "in a run of another name (--name)",
        ),
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
