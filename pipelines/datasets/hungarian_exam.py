"""The 2023 Hungarian national high-school finals in mathematics (Paster, 2023): 33 questions.

The exam has no reference answers: people grade it, so its suite's reward is `by_hand`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.config import SourceConfig
from pipelines.datasets.problem import Fields, NumberedRow, Unreadable, missing_text
from pipelines.datasets.records import problems, records


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The questions with an empty reference; `number` is a question's place in the exam, from 1."""
    for number, row in problems(records(source, seed), _problem):
        yield number, row if isinstance(row, Unreadable) else {**row, "number": number}


def _problem(row: Fields) -> Fields | Unreadable:
    text = "Question" if "Question" in row else "problem"
    fault = missing_text(row, text)
    if fault:
        return fault
    return {
        "question": row[text],
        "reference": "",
        "solution": row.get("solution") or None,
    }
