"""Marks as they come back: each row of the sheets is held against what was exported.

Every fault is found before anything is written, and named with its row, the rule, what is there and
what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipelines.datasets.read import named
from pipelines.errors import InputError
from pipelines.results.grading.exam import Exam, Question, Solution, text_hash
from pipelines.results.grading.sheet import SheetRow

Key = tuple[int, str]
"""Iteration and sample: two iterations whose policies are equal share sample ids."""


@dataclass(frozen=True)
class Mark:
    """The points that one solution was given."""

    problem_id: str
    sample_id: str
    policy_id: str
    points: float
    max_points: float
    comment: str | None
    text_hash: str


def row_key(row: SheetRow) -> Key | None:
    """The iteration and sample that a row is about; None if it names none."""
    iteration = row.cells["iteration"].strip()
    return (int(iteration), row.cells["sample_id"].strip()) if iteration.isdecimal() else None


def check_marks(rows: list[SheetRow], exams: Iterable[Exam]) -> dict[tuple[str, int], list[Mark]]:
    """The marks by (suite, iteration), if every exported solution of those exams has exactly one.

    Args:
        rows: the rows of all sheets of one grader.
        exams: the exams that the sheets are about, with the samples as they are in the lake.

    Raises:
        InputError: rows that are not as they must be, all of them named.
    """
    asked = {
        (exam.iteration, solution.sample_id): (exam, question, solution)
        for exam in exams
        for question in exam.questions
        for solution in question.solutions
    }
    marks: dict[tuple[str, int], list[Mark]] = {}
    first: dict[Key, SheetRow] = {}
    faults: list[str] = []
    for row in rows:
        key = row_key(row)
        if key is None or key not in asked:
            faults.append(f"{row.place}: {_unknown(row)}")
            continue
        if key in first:
            faults.append(f"{row.place}: {_twice(row, first[key])}")
            continue
        first[key] = row
        exam, question, solution = asked[key]
        found = list(_faults(row, question, solution))
        faults += [f"{row.place}: {fault}" for fault in found]
        if not found:
            of_exam = marks.setdefault((exam.suite, exam.iteration), [])
            of_exam.append(_mark(row, question, solution))
    faults += _left_out(rows, asked.keys() - first.keys(), asked)
    if faults:
        raise InputError(named(len(faults), faults))
    return marks


def _mark(row: SheetRow, question: Question, solution: Solution) -> Mark:
    points = _number(row.cells["mark"])
    worth = _number(row.cells["max_points"])
    assert points is not None
    assert worth is not None
    return Mark(
        question.problem_id,
        solution.sample_id,
        solution.policy_id,
        points,
        worth,
        row.cells["comment"].strip() or None,
        row.cells["text_hash"].strip(),
    )


def _faults(row: SheetRow, question: Question, solution: Solution) -> Iterator[str]:
    cells = row.cells
    worth, points = _number(cells["max_points"]), _number(cells["mark"])
    if worth is None or worth <= 0:
        yield (
            f"max_points must be a number > 0, got {cells['max_points']!r}; restore the sheet's own"
        )
        return
    yield from _changed(row, question, solution, worth)
    if not cells["mark"].strip():
        yield f"mark must be a number from 0 to {worth:g}, is missing; mark the solution"
    elif points is None or not 0 <= points <= worth:
        yield f"mark must be a number from 0 to {worth:g}, got {cells['mark']!r}; correct it"


def _changed(row: SheetRow, question: Question, solution: Solution, worth: float) -> Iterator[str]:
    """Whether the sheet's text, or the lake's, is not what the hash was made of."""
    cells = row.cells
    stated = cells["text_hash"].strip()
    shown = text_hash(cells["problem"], cells["rubric"], cells["solution"], worth)
    if shown != stated:
        yield (
            "problem, rubric, solution and max_points must stay as exported, the text was changed "
            f"(its hash is {shown}, the sheet says {stated!r}); put the mark into a fresh export"
        )
    elif text_hash(question.text, question.rubric, solution.text, worth) != stated:
        yield (
            "the text must be the run's, which has another for this sample "
            f"(text_hash {stated!r}); export again, and mark what is shown now"
        )


def _number(text: str) -> float | None:
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _unknown(row: SheetRow) -> str:
    cells = row.cells
    return (
        f"sample_id must be one of the run's in its iteration, got {cells['sample_id']!r} in "
        f"iteration {cells['iteration']!r}; restore the sheet's own, or name the run it is of"
    )


def _twice(row: SheetRow, first: SheetRow) -> str:
    return (
        f"sample_id must be there once, {row.cells['sample_id']!r} is also in {first.file} row "
        f"{first.row}; keep one of them"
    )


def _left_out(
    rows: list[SheetRow], keys: Iterable[Key], asked: dict[Key, tuple[Exam, Question, Solution]]
) -> list[str]:
    files = ", ".join(dict.fromkeys(row.file for row in rows))
    return [
        f"{files}: every solution must have a row, sample {sample_id!r} of iteration {iteration} "
        f"({asked[iteration, sample_id][1].text[:40]!r}) has none; add its row from the export"
        for iteration, sample_id in sorted(keys)
    ]
