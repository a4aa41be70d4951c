"""The 2023 Hungarian national high-school finals in mathematics (Paster, 2023): 33 questions.

The exam has no reference answers: people grade it, so its suite's reward is `by_hand`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.config import SourceConfig
from pipelines.datasets.problem import Row, Unreadable, lacking
from pipelines.datasets.records import problems, records


def rows(source: SourceConfig, seed: int) -> Iterator[Row]:
    """The questions in the exam's order; `number` counts them from 1, the reference is empty."""
    numbered = ((n, _numbered(n, row)) for n, row in records(source, seed))
    return problems(numbered, _problem)


def _numbered(number: int, row: dict[str, Any] | Unreadable) -> dict[str, Any] | Unreadable:
    return row if isinstance(row, Unreadable) else {**row, "number": number}


def _problem(row: dict[str, Any]) -> dict[str, Any] | Unreadable:
    text = "Question" if "Question" in row else "problem"
    fault = lacking(row, text)
    if fault:
        return fault
    return {
        "question": row[text],
        "reference": "",
        "solution": row.get("solution") or None,
        "number": row["number"],
    }
