"""The sheet that marks are written into: a CSV file with a row for each solution.

It is opened in spreadsheets, which have ways of their own: they evaluate what begins like a
formula (a model may write one), want a mark of byte order to see UTF-8, and save with `;` where the
comma is for decimals.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import InputError
from pipelines.results.grading.exam import Exam

COLUMNS = (
    "number",
    "problem",
    "rubric",
    "solution",
    "max_points",
    "mark",
    "comment",
    "suite",
    "iteration",
    "sample_id",
    "text_hash",
)
_GUARDED = ("=", "+", "-", "@", "\t", "\r", "'")
"""Beginnings of a formula, and the quote itself, so that every text comes back as it was."""
_LONGEST_FIELD = 2**24


@dataclass(frozen=True)
class SheetRow:
    """A row of a sheet, as text."""

    file: str
    row: int
    """From 1, the header being row 1, as a spreadsheet counts."""
    cells: dict[str, str]

    @property
    def place(self) -> str:
        """How a message names the row."""
        number = self.cells["number"].strip()
        return f"{self.file}: row {self.row}" + (f" (number {number})" if number else "")


def sheet_rows(exam: Exam) -> list[dict[str, str]]:
    """The exam's rows, marks empty."""
    return [
        {
            "number": f"{number}.{nth}" if len(question.solutions) > 1 else str(number),
            "problem": question.text,
            "rubric": question.rubric,
            "solution": solution.text,
            "max_points": f"{question.max_points:g}",
            "mark": "",
            "comment": "",
            "suite": exam.suite,
            "iteration": str(exam.iteration),
            "sample_id": solution.sample_id,
            "text_hash": question.text_hash(solution),
        }
        for number, question in enumerate(exam.questions, 1)
        for nth, solution in enumerate(question.solutions, 1)
    ]


def write_sheet(exam: Exam, path: Path) -> None:
    """Write the exam's sheet."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in sheet_rows(exam):
            writer.writerow({name: guarded(text) for name, text in row.items()})


def read_sheet(path: Path) -> list[SheetRow]:
    """The rows of a sheet, whichever separator it was saved with.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    try:
        # No translation of line ends: a lone \r in a solution is the solution's.
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: must be UTF-8, byte {error.start} is not; save it as 'CSV UTF-8'"
        ) from None
    rows = list(_rows(path, text))
    if not rows:
        raise InputError(f"{path}: has no rows; fill in the sheet that 'restem grade export' made")
    return rows


def guarded(text: str) -> str:
    """The text with a quote before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_GUARDED) else text


def unguarded(text: str) -> str:
    """What `guarded` was given."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_GUARDED) else text


def _rows(path: Path, text: str) -> Iterator[SheetRow]:
    csv.field_size_limit(_LONGEST_FIELD)
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = [name.strip() for name in next(reader, [])]
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise InputError(
                f"{path}: row 1: has no column {', '.join(map(repr, missing))}; keep the header that "
                "'restem grade export' wrote"
            )
        for number, cells in enumerate(reader, 2):
            if any(cell.strip() for cell in cells):
                filled = dict(zip(names, cells, strict=False))
                yield SheetRow(
                    path.name, number, {name: unguarded(filled.get(name, "")) for name in COLUMNS}
                )
    except csv.Error as error:
        raise InputError(f"{path}: is not CSV ({error}); save it as CSV again") from None
