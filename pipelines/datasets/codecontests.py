"""CodeContests (Li et al., 2022): competition problems with tests on standard input."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.config import SourceConfig
from pipelines.datasets.code_problems import in_apps_format, reference, unix_lines
from pipelines.datasets.problem import (
    OTHER_SOLUTIONS,
    Fields,
    NumberedRow,
    Unreadable,
    missing_text,
)
from pipelines.datasets.records import problems, records

_TESTS = ("public_tests", "private_tests", "generated_tests")
MAX_SOLUTIONS = 10
"""Human solutions of a problem that are read."""
_PYTHON_3 = 3


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The problems with tests, asked in APPS's format; all their tests are the reference.

    A file may have the set's own fields (`description`, `public_tests`, ...), or `problem` and
    `tests`.
    """
    return problems(records(source, seed), _problem)


def _problem(row: Fields) -> Fields | Unreadable | None:
    text = "description" if "description" in row else "problem"
    fault = missing_text(row, text)
    if fault:
        return fault
    inputs, outputs = _tests(row)
    if not inputs:
        return None
    solutions = _solutions(row.get("solutions") or {})
    return {
        "question": in_apps_format(row[text].strip(), "", calls=False),
        "reference": reference(inputs=inputs, outputs=outputs),
        "solution": next(iter(solutions), None),
        OTHER_SOLUTIONS: solutions[1:MAX_SOLUTIONS],
        "name": row.get("name"),
    }


def _tests(row: Fields) -> tuple[list[str], list[str]]:
    if "tests" in row:
        return row["tests"]["inputs"], row["tests"]["outputs"]
    parts = [row.get(name) or {} for name in _TESTS]
    inputs = [text for part in parts for text in part.get("input", [])]
    return inputs, [text for part in parts for text in part.get("output", [])]


def _solutions(solutions: Fields) -> list[str]:
    pairs = zip(solutions.get("language", []), solutions.get("solution", []), strict=True)
    return [unix_lines(code) for language, code in pairs if language == _PYTHON_3]
