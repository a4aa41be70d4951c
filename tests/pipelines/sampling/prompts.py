"""Literal prompts rows for the tests of sampling."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from schemas import PROMPTS


def prompt(prompt_id: str, **changes: Any) -> dict[str, Any]:
    """A row of `prompts`: two samples at the training temperature, unless changed."""
    row: dict[str, Any] = {
        "run_id": "run",
        "iteration": 1,
        "prompt_id": prompt_id,
        "problem_id": f"problem-of-{prompt_id}",
        "purpose": "train",
        "decoding": "sample",
        "num_samples": 2,
        "temperature": 0.7,
        "top_k": 40,
        "top_p": 1.0,
        "max_tokens": 8,
        "stop": ["\n"],
        "seed": 1000,
        "question": "?",
        "reference": "4",
        "text": f"What is 2 + 2? ({prompt_id})",
    }
    return row | changes


def prompt_table(*rows: dict[str, Any]) -> pa.Table:
    """Rows of `prompts` in memory."""
    return pa.Table.from_pylist(list(rows), schema=PROMPTS.arrow_schema())


def committed_table(*prompt_ids: str, finish_reason: str = "stop") -> pa.Table:
    """The columns of committed samples that generating reads."""
    columns = {
        "prompt_id": prompt_ids,
        "policy_id": ["policy"] * len(prompt_ids),
        "finish_reason": [finish_reason] * len(prompt_ids),
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
