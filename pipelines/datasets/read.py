"""Read the problems of a source: its rows, with the fields that the configuration names.

Each kind of source has a module of its own, with a function from a SourceConfig and a seed to rows,
and an entry in `_READERS`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator

from pipelines.config import SourceConfig
from pipelines.config.problems import OWN_CODE
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
from pipelines.datasets.problem import OTHER_SOLUTIONS, Fields, NumberedRow, RawProblem, Unreadable
from pipelines.errors import InputError, first_line, list_faults
from pipelines.runtime.plain_text import unstorable

_READERS: dict[str, Callable[[SourceConfig, int], Iterator[NumberedRow]]] = {
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
_FAULTS_OF_FILES = (
    ArithmeticError,
    EOFError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zlib.error,
)
"""What libraries raise for a torn or wrong file, a date out of range, a name that is no path."""
_SPLITS = {"dev": "validation", "val": "validation", "valid": "validation"}


def read(source: SourceConfig, seed: int) -> Iterator[RawProblem]:
    """The source's problems, in its order.

    Raises:
        InputError: the source cannot be read, is empty, or has rows that are not problems; the
            message comes after the last row and names the first of them.
    """
    try:
        yield from _read(source, seed)
    except InputError as error:
        raise InputError(source.hide(str(error))) from None
    except _FAULTS_OF_FILES as error:
        if source.kind in OWN_CODE:
            raise  # a fault of the user's function, whose traceback says where
        fault = f"{type(error).__name__}: {first_line(error)}"[:200]
        raise InputError(
            source.hide(
                f"problems.sources.location: cannot read {source.location!r} as {source.kind} "
                f"({fault}); check the file and the source's options"
            )
        ) from None


def _read(source: SourceConfig, seed: int) -> Iterator[RawProblem]:
    changes: dict[str, str | None] = {
        "location": expanded(source.location, "problems.sources.location")
    }
    if source.kind in PUBLISHED:
        # The set's module gives its rows these fields, whatever they are called in the set.
        changes |= {
            "question_field": "question",
            "reference_field": "reference",
            "solution_field": "solution",
            "split_field": None,
        }
    source = source.model_copy(update=changes)
    faults: list[str] = []
    number = 0
    for number, row in _READERS[source.kind](source, seed):
        problem = row if isinstance(row, Unreadable) else _problem(source, number, row)
        if isinstance(problem, RawProblem):
            yield problem
        else:
            faults.append(f"{source.location}: row {number}: {problem.reason}")
    if faults:
        raise InputError(list_faults(faults, len(faults)))
    if not number:
        raise InputError(f"{source.location}: has no rows; problems.sources needs at least one")


def _problem(source: SourceConfig, number: int, row: Fields) -> RawProblem | Unreadable:
    text = unstorable(row)
    if text is not None:
        return Unreadable(
            f"must be text that UTF-8 can hold, got {text} with half of a surrogate pair; fix it"
        )
    fault = _fault(source, row)
    if fault:
        return Unreadable(fault)
    solution = row.get(source.solution_field) if source.solution_field else None
    others = row.get(OTHER_SOLUTIONS, ()) if source.kind in PUBLISHED else ()
    used = {source.question_field, source.reference_field, source.solution_field}
    used |= {OTHER_SOLUTIONS} if source.kind in PUBLISHED else set()
    return RawProblem(
        question=row[source.question_field],
        reference=_text(row[source.reference_field]),
        solution=None if solution is None else _text(solution),
        split=_split(row[source.split_field].strip() if source.split_field else source.split),
        source_row=number,
        metadata={key: value for key, value in row.items() if key not in used},
        other_solutions=tuple(others),
    )


def _fault(source: SourceConfig, row: Fields) -> str | None:
    """Why a row is not a problem; None if it is one."""
    question = row.get(source.question_field)
    if question is None:
        return _missing(row, source.question_field, "question_field")
    if not isinstance(question, str):
        return (
            f"{source.question_field!r} must be text, got {question!r}; give the question as text"
        )
    if not question.strip():
        return (
            f"{source.question_field!r} must not be empty, got {question!r}; remove the row or add "
            "its question"
        )
    if row.get(source.reference_field) is None:
        return _missing(row, source.reference_field, "reference_field")
    if source.split_field:
        split = row.get(source.split_field)
        if split is None:
            return _missing(row, source.split_field, "split_field")
        if not isinstance(split, str):
            return f"{source.split_field!r} must be a split's name, got {split!r}"
    return None


def _missing(row: Fields, name: str, setting: str) -> str:
    if name in row:
        return f"{name!r} must not be null; remove the row or add its value"
    has = ", ".join(repr(key) for key in row)
    return f"has no field {name!r} (it has {has}); set problems.sources.{setting}"


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _split(name: str | None) -> str | None:
    """The name of a split as in schemas.problems; of the hub's "train[:100]" it is "train"."""
    if name is None:
        return None
    name = name.partition("[")[0].lower()
    return _SPLITS.get(name, name) or None
