"""Check marks: each row of the sheets is compared with what was exported.

All faults are found before anything is written. Each is reported with its row, the rule, the value
and the remedy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipelines.errors import InputError, list_faults
from pipelines.results.grading.exam import Exam, ExamQuestion, Solution, text_hash
from pipelines.results.grading.sheet import SheetRow

SampleKey = tuple[int, str]
"""Iteration and sample id: two iterations with equal policies share sample ids."""


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


def row_key(row: SheetRow) -> SampleKey | None:
    """The iteration and sample id that a row names; None if its iteration is not a number."""
    iteration = row.cells["iteration"].strip()
    return (int(iteration), row.cells["sample_id"].strip()) if iteration.isdecimal() else None


def check_marks(rows: list[SheetRow], exams: Iterable[Exam]) -> dict[tuple[str, int], list[Mark]]:
    """The marks by (suite, iteration), if every exported solution of those exams has exactly one.

    Args:
        rows: the rows of all sheets of one grader.
        exams: the exams that the sheets were exported from, with the samples as the lake has them.

    Raises:
        InputError: rows with faults, all of them listed.
    """
    exported = {
        (exam.iteration, solution.sample_id): (exam, question, solution)
        for exam in exams
        for question in exam.questions
        for solution in question.solutions
    }
    marks: dict[tuple[str, int], list[Mark]] = {}
    first: dict[SampleKey, SheetRow] = {}
    faults: list[str] = []
    for row in rows:
        key = row_key(row)
        if key is None or key not in exported:
            faults.append(
                f"{row.place}: sample_id must be one of the run's in its iteration, got "
                f"{row.cells['sample_id']!r} in iteration {row.cells['iteration']!r}; restore the "
                "sheet's own, or name the run that it was exported from"
            )
            continue
        if key in first:
            faults.append(
                f"{row.place}: sample_id must be there once, {row.cells['sample_id']!r} is also in "
                f"{first[key].file} row {first[key].row}; keep one of them"
            )
            continue
        first[key] = row
        exam, question, solution = exported[key]
        mark = _mark_or_faults(row, question, solution)
        if isinstance(mark, Mark):
            marks.setdefault((exam.suite, exam.iteration), []).append(mark)
        else:
            faults += [f"{row.place}: {fault}" for fault in mark]
    files = ", ".join(dict.fromkeys(row.file for row in rows))
    faults += [
        f"{files}: every solution must have a row, sample {sample_id!r} of iteration {iteration} "
        f"({exported[iteration, sample_id][1].text[:40]!r}) has none; add its row from the export"
        for iteration, sample_id in sorted(exported.keys() - first.keys())
    ]
    if faults:
        raise InputError(list_faults(faults, len(faults)))
    return marks


def _mark_or_faults(row: SheetRow, question: ExamQuestion, solution: Solution) -> Mark | list[str]:
    """The mark that a row gives, or the faults of the row."""
    cells = row.cells
    maximum, points = _number(cells["max_points"]), _number(cells["mark"])
    if maximum is None or maximum <= 0:
        return [
            f"max_points must be a number > 0, got {cells['max_points']!r}; restore the sheet's own"
        ]
    faults = list(_text_faults(cells, question, solution, maximum))
    if not cells["mark"].strip():
        faults.append(f"mark must be a number from 0 to {maximum:g}, is missing; mark the solution")
    elif points is None or not 0 <= points <= maximum:
        faults.append(
            f"mark must be a number from 0 to {maximum:g}, got {cells['mark']!r}; correct it"
        )
    if faults or points is None:
        return faults
    return Mark(
        question.problem_id,
        solution.sample_id,
        solution.policy_id,
        points,
        maximum,
        cells["comment"].strip() or None,
        cells["text_hash"].strip(),
    )


def _text_faults(
    cells: dict[str, str], question: ExamQuestion, solution: Solution, maximum: float
) -> Iterator[str]:
    """A text in the sheet, or in the lake, that is not the one that was exported."""
    stated = cells["text_hash"].strip()
    shown = text_hash(cells["problem"], cells["rubric"], cells["solution"], maximum)
    if shown != stated:
        yield (
            "problem, rubric, solution and max_points must stay as exported, the text was changed "
            f"(its hash is {shown}, the sheet says {stated!r}); put the mark into a fresh export"
        )
    elif text_hash(question.text, question.rubric, solution.text, maximum) != stated:
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
