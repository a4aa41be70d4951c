"""APPS (Hendrycks et al., 2021): programming problems, tested on standard input or as a function.

The paper trains on the 2,342 introductory training problems that have tests.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import partial

from pipelines.config import SourceConfig
from pipelines.datasets.code_problems import in_apps_format, parsed, reference, unix_lines
from pipelines.datasets.problem import (
    OTHER_SOLUTIONS,
    Fields,
    NumberedRow,
    Unreadable,
    missing_text,
)
from pipelines.datasets.records import choice, problems, records

MAX_SOLUTIONS = 10
"""Human solutions of a problem that are read."""
_FUNCTION = re.compile(r"\bdef\s+(\w+)\s*\(")


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The problems with tests, of `options.difficulties` (default: introductory only).

    A file may have the fields of APPS or of MapCoder's selection from it: `description` and
    `test_list`, whose inputs are the arguments of a function, one per line.
    """
    difficulties = choice(source, "difficulties", ("introductory",), str)
    return problems(records(source, seed), partial(_problem, difficulties))


def _problem(difficulties: set[str], row: Fields) -> Fields | Unreadable | None:
    text = "question" if "question" in row else "description"
    fault = missing_text(row, text, "difficulty")
    if fault:
        return fault
    tests = _listed_tests(row) if "test_list" in row else parsed(row.get("input_output"))
    if row["difficulty"] not in difficulties or not isinstance(tests, dict):
        return None
    if not (tests.get("inputs") and tests.get("outputs")):
        return None
    kept = {name: tests[name] for name in ("inputs", "outputs", "fn_name") if tests.get(name)}
    starter = str(row.get("starter_code") or "")
    solutions = [unix_lines(code) for code in parsed(row.get("solutions")) or [] if code]
    return {
        "question": in_apps_format(row[text], starter, calls="fn_name" in kept),
        "reference": reference(input_output=kept),
        "solution": next(iter(solutions), None),
        OTHER_SOLUTIONS: solutions[1:MAX_SOLUTIONS],
        "difficulty": row["difficulty"],
        "problem_id": str(row.get("problem_id", row.get("id", ""))),
    }


def _listed_tests(row: Fields) -> Fields | None:
    name = _FUNCTION.search(str(row.get("starter_code") or ""))
    if name is None:
        return None
    return {
        "fn_name": name[1],
        "inputs": [[_value(line) for line in t["input"].split("\n")] for t in row["test_list"]],
        "outputs": [t["output"] for t in row["test_list"]],
    }


def _value(line: str) -> object:
    """An argument as a test writes it: a Python value, or text without quotes."""
    try:
        return ast.literal_eval(line)
    except (ValueError, SyntaxError, TypeError, MemoryError):
        return line
