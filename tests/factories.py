"""Literal rows of every table: valid as they are, with distinct keys; override what a test is about.

The rows of different tables belong together: the n-th sample answers the n-th prompt of the n-th
problem, the n-th reward judges it, the n-th training row holds it.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from schemas import TABLES, Column, ColumnType, Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)

_VALUES: dict[str, Any] = {
    "run_id": "run",
    "iteration": 1,
    "config": "{}",
    "config_hash": "0123456789abcdef",
    "code_version": "0.1.0",
    "mlflow_run_id": None,
    "dataset": "sums",
    "split": "train",
    "refused": None,
    "metadata": "{}",
    "policy_id": "policy-0",
    "purpose": "train",
    "decoding": "sample",
    "num_samples": 1,
    "temperature": 0.7,
    "top_k": 40,
    "top_p": 1.0,
    "max_tokens": 32,
    "stop": ["\n\n"],
    "index": 0,
    "finish_reason": "stop",
    "stop_string": "\n\n",
    "num_tokens": 7,
    "num_prompt_tokens": 20,
    "log_probability": -3.5,
    "verifier": "math_answer",
    "verifier_version": "1",
    "role": "reward",
    "reward": 1.0,
    "verdict": "correct",
    "milliseconds": 0.25,
    "kept": True,
    "reason": "kept",
    "rank": 1,
    "weight": 1.0,
    "checkpoint_uri": "checkpoints/policy-1",
    "drawn_in": 0,
    "origin": "drawn",
    "taken_from": None,
    "started_from": "policy-0",
    "training_set_version": 3,
    "epoch": 2,
    "num_epochs": 3,
    "validation_reward": 0.25,
    "history": "[]",
    "suite": "test",
    "value": 0.25,
    "ci_low": 0.125,
    "ci_high": 0.5,
    "n": 100,
    "exact": False,
    "shared_words": 9,
    "num_words": 20,
    "grader": "ada",
    "points": 3.0,
    "max_points": 4.0,
    "comment": None,
    "text_hash": "fedcba9876543210",
    "holder": "0123456789abcdef",
    "process": "{}",
    "stage": "generate",
    "table_name": "samples",
    "version": 5,
    "inputs": "{}",
    "rows": 100,
    "seconds": 1.5,
    "measures": "{}",
    "covers": "[]",
    "settings": "{}",
    "severity": "critical",
    "passed": True,
    "observed": "100",
    "num_unexpected": 0,
    "examples": "[]",
    "engine": "pandas",
}


def rows(table: Table, *overrides: dict[str, Any]) -> list[dict[str, Any]]:
    """One valid row an override (one row if there are none), numbered from 1."""
    made = []
    for number, override in enumerate(overrides or ({},), 1):
        unknown = set(override) - set(table.column_names)
        assert not unknown, f"{table.name} has no column {sorted(unknown)}"
        row = {column.name: _value(column, number) for column in table.columns}
        if table.name == "policies":
            row["iteration"] = number
        if table.name == "runs" and number > 1:
            row["run_id"] = f"run-{number}"
        made.append({**row, **override})
    return made


def frame(table: Table, *overrides: dict[str, Any]) -> pd.DataFrame:
    """The rows as pandas sees them when they come from Arrow."""
    return arrow(table, *overrides).to_pandas()


def arrow(table: Table, *overrides: dict[str, Any]) -> pa.Table:
    """The rows as Arrow."""
    import pyarrow as pa

    return pa.Table.from_pylist(rows(table, *overrides), schema=table.arrow_schema())


def table_named(name: str) -> Table:
    """The declared table of that name."""
    return next(table for table in TABLES if table.name == name)


def _value(column: Column, number: int) -> Any:
    if column.type is ColumnType.TIMESTAMP:
        return NOON
    numbered = {
        "problem_id": f"problem-{number}",
        "prompt_id": f"prompt-{number}",
        "sample_id": f"sample-{number}",
        "question": f"What is {number} + {number}?",
        "train_problem_id": f"problem-{number}",
        "train_question": f"What is {number} + {number}?",
        "reference": str(2 * number),
        "extracted": str(2 * number),
        "detail": None,
        "prompt": f"Question: What is {number} + {number}?\nAnswer:",
        "text": f"Question: What is {number} + {number}?\nAnswer:",
        "solution": f" {number} + {number} = {2 * number}. The answer is {2 * number}.",
        "metric": "greedy_accuracy" if number == 1 else f"pass_at_{number}",
        "source_row": number,
        "attempt": number,
        "start": number,
        "rule": f"rule {number}",
        "seed": 1000 + number,
    }
    return numbered[column.name] if column.name in numbered else _VALUES[column.name]
