"""Rules of prompts beyond their schema."""

from __future__ import annotations

from expectations.context import Context
from expectations.rule import Between, RowCount, Rule, Unique, Where
from schemas.prompts import GREEDY


def expectations(context: Context) -> list[Rule]:
    """One prompt per problem, purpose and decoding; greedy decoding draws one solution."""
    greedy = Where("decoding", (GREEDY,))
    rules: list[Rule] = [
        RowCount(0 if context.may_be_empty else 1),
        Unique(("problem_id", "purpose", "decoding")),
        Between("num_samples", 1, 1, greedy),
        Between("temperature", 0, 0, greedy),
    ]
    if context.expected_rows is not None:
        rules.append(RowCount(context.expected_rows, context.expected_rows))
    return rules
