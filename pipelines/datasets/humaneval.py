"""HumanEval (Chen et al., 2021): 164 Python functions to complete from signature and docstring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.config import SourceConfig
from pipelines.datasets.code_problems import reference
from pipelines.datasets.problem import Row, Unreadable, lacking
from pipelines.datasets.records import problems, records


def rows(source: SourceConfig, seed: int) -> Iterator[Row]:
    """The problems; the question is the code to go on with, the solution the function's body."""
    return problems(records(source, seed), _problem)


def _problem(row: dict[str, Any]) -> dict[str, Any] | Unreadable:
    fault = lacking(row, "prompt", "test", "entry_point")
    if fault:
        return fault
    return {
        "question": row["prompt"],
        "reference": reference(
            prompt=row["prompt"], test=row["test"], entry_point=row["entry_point"]
        ),
        "solution": row.get("canonical_solution"),
        "task_id": row.get("task_id"),
    }
