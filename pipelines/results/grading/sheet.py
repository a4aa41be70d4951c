"""The sheet that marks are written into: a CSV file with one row per solution.

It is opened in spreadsheet programs. They evaluate cells that begin like a formula (a model may
write one), recognise UTF-8 by a byte order mark, and save with `;` where the comma separates
decimals.
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
"""Prefixes of a formula, and the quote itself, so that every text is read back unchanged."""
_LONGEST_FIELD = 2**24


@dataclass(frozen=True)
class SheetRow:
    """A row of a sheet."""

    file: str
    row: int
    """Counted as a spreadsheet does: the header is row 1."""
    cells: dict[str, str]
    """Column -> text."""

    @property
    def place(self) -> str:
        """The row as messages name it."""
        number = self.cells["number"].strip()
        return f"{self.file}: row {self.row}" + (f" (number {number})" if number else "")


def sheet_rows(exam: Exam) -> list[dict[str, str]]:
    """The exam's rows, with empty marks."""
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
    """The rows of a sheet, saved with `,`, `;` or tabs.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    try:
        # Not read as text, which would translate line ends: a lone \r may be part of a solution.
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
    """The text, after a quote if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_GUARDED) else text


def unguarded(text: str) -> str:
    """The text before `guarded`."""
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
