"""HumanEval (Chen et al., 2021): 164 Python functions to complete from signature and docstring."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.config import SourceConfig
from pipelines.datasets.code_problems import reference
from pipelines.datasets.problem import Fields, NumberedRow, Unreadable, missing_text
from pipelines.datasets.records import problems, records


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The problems; the question is the code to complete, the solution the function's body."""
    return problems(records(source, seed), _problem)


def _problem(row: Fields) -> Fields | Unreadable:
    fault = missing_text(row, "prompt", "test", "entry_point")
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
