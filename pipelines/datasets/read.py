"""Problems of a source: its rows, with the fields that the configuration names.

A source is added in its own module, as a function from a SourceConfig and a seed to rows, and in
`_READERS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.config import SourceConfig
from pipelines.config.published import PUBLISHED
from pipelines.datasets import (
    apps,
    bbh,
    codecontests,
    delta,
    files,
    generator,
    gsm8k,
    hub,
    humaneval,
    hungarian_exam,
    math_problems,
    mbpp,
    parquet,
    reasoning_gym_task,
)
from pipelines.datasets.locations import expanded
from pipelines.datasets.problem import RawProblem, Row, Unreadable
from pipelines.errors import InputError

MAX_SHOWN = 10
"""Rows named in an error; of the others only the number is given."""

_READERS: dict[str, Callable[[SourceConfig, int], Iterator[Row]]] = {
    "apps": apps.rows,
    "bbh": bbh.rows,
    "codecontests": codecontests.rows,
    "csv": files.csv_rows,
    "delta": delta.rows,
    "generator": generator.rows,
    "gsm8k": gsm8k.rows,
    "hub": hub.rows,
    "humaneval": humaneval.rows,
    "hungarian_exam": hungarian_exam.rows,
    "jsonl": files.jsonl_rows,
    "math": math_problems.rows,
    "math500": math_problems.rows,
    "mbpp": mbpp.rows,
    "parquet": parquet.rows,
    "reasoning_gym": reasoning_gym_task.rows,
}
_SPLITS = {"dev": "validation", "val": "validation", "valid": "validation"}


def read(source: SourceConfig, seed: int) -> Iterator[RawProblem]:
    """The source's problems, in its order.

    Raises:
        InputError: the source cannot be read, is empty, or has rows that are no problems; these
            are all named together, after the last row.
    """
    faults: list[str] = []
    number = 0
    source = _ready(source)
    for number, row in _READERS[source.kind](source, seed):
        problem = _problem(source, number, row)
        if isinstance(problem, RawProblem):
            yield problem
        else:
            faults.append(f"row {number}: {problem}")
    if faults:
        raise InputError(_explain(source, faults))
    if not number:
        raise InputError(f"{source.location}: has no rows; problems.sources needs at least one")


def _ready(source: SourceConfig) -> SourceConfig:
    """The source with its location expanded, and the fields that a published set's module gives."""
    changes: dict[str, Any] = {
        "location": expanded(source.location, "problems.sources.location"),
    }
    if source.kind in PUBLISHED:
        changes |= {
            "question_field": "question",
            "reference_field": "reference",
            "solution_field": "solution",
            "split_field": None,
        }
    return source.model_copy(update=changes)


def named(count: int, lines: list[str]) -> str:
    """The first few lines, and how many more there are."""
    more = [f"... and {count - MAX_SHOWN} more"] if count > MAX_SHOWN else []
    return "\n".join([*lines[:MAX_SHOWN], *more])


def _explain(source: SourceConfig, faults: list[str]) -> str:
    return named(len(faults), [f"{source.location}: {fault}" for fault in faults])


def _problem(
    source: SourceConfig, number: int, row: dict[str, Any] | Unreadable
) -> RawProblem | str:
    """The row as a problem, or what is wrong with it."""
    if isinstance(row, Unreadable):
        return row.reason
    question = row.get(source.question_field)
    fault = _question_fault(source, row) or _missing(source, row, "reference_field")
    if not fault and source.split_field and not isinstance(row.get(source.split_field), str):
        fault = _missing(source, row, "split_field") or (
            f"{source.split_field!r} must be a split's name, got {row[source.split_field]!r}"
        )
    if fault:
        return fault
    solution = row.get(source.solution_field) if source.solution_field else None
    return RawProblem(
        question=str(question),
        reference=_text(row[source.reference_field]),
        solution=None if solution is None else _text(solution),
        split=_split(source, row),
        source_row=number,
        metadata=_metadata(source, row),
    )


def _question_fault(source: SourceConfig, row: dict[str, Any]) -> str | None:
    name = source.question_field
    question = row.get(name)
    if question is None:
        return _missing(source, row, "question_field")
    if not isinstance(question, str):
        return f"{name!r} must be text, got {question!r}; give the question as text"
    if not question.strip():
        return f"{name!r} must not be empty, got {question!r}; remove the row or add its question"
    return None


def _missing(source: SourceConfig, row: dict[str, Any], setting: str) -> str | None:
    name = getattr(source, setting)
    if row.get(name) is not None:
        return None
    if name in row:
        return f"{name!r} must not be null; remove the row or add its value"
    has = ", ".join(repr(key) for key in row)
    return f"has no field {name!r} (it has {has}); set problems.sources.{setting}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _split(source: SourceConfig, row: dict[str, Any]) -> str | None:
    name = row[source.split_field].strip() if source.split_field else source.split
    if name is None:
        return None
    # The hub reads parts of splits: "train[:100]".
    name = name.partition("[")[0].lower() or None
    return _SPLITS.get(name, name) if name else None


def _metadata(source: SourceConfig, row: dict[str, Any]) -> dict[str, Any]:
    used = {source.question_field, source.reference_field, source.solution_field}
    return {key: value for key, value in row.items() if key not in used}
