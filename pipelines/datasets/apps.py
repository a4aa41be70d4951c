"""APPS (Hendrycks et al., 2021): programming problems with tests on standard input or on a function.

The paper trains on the 2,342 introductory training problems that have tests.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from pipelines.config import SourceConfig
from pipelines.datasets.code_problems import in_apps_format, parsed, reference, unix_lines
from pipelines.datasets.problem import Row, Unreadable, lacking
from pipelines.datasets.records import choice, problems, records

INTRODUCTORY = "introductory"
_FUNCTION = re.compile(r"\bdef\s+(\w+)\s*\(")


def rows(source: SourceConfig, seed: int) -> Iterator[Row]:
    """The problems that have tests, of `options.difficulties` (default: introductory alone).

    Besides APPS's own fields a file may have those of MapCoder's selection: `description` and
    `test_list`, whose inputs are a function's arguments, one a line.
    """
    difficulties = choice(source, "difficulties", (INTRODUCTORY,), str)
    return problems(records(source, seed), partial(_problem, difficulties))


def _problem(difficulties: set[str], row: dict[str, Any]) -> dict[str, Any] | Unreadable | None:
    text = "question" if "question" in row else "description"
    fault = lacking(row, text, "difficulty")
    if fault:
        return fault
    tests = _listed_tests(row) if "test_list" in row else parsed(row.get("input_output"))
    if row["difficulty"] not in difficulties or tests is None or not _has_tests(tests):
        return None
    kept = {name: tests[name] for name in ("inputs", "outputs", "fn_name") if tests.get(name)}
    starter = str(row.get("starter_code") or "")
    solutions = parsed(row.get("solutions")) or [None]
    return {
        "question": in_apps_format(row[text], starter, calls="fn_name" in kept),
        "reference": reference(input_output=kept),
        "solution": unix_lines(solutions[0]) if solutions[0] else None,
        "difficulty": row["difficulty"],
        "problem_id": str(row.get("problem_id", row.get("id", ""))),
    }


def _has_tests(tests: Any) -> bool:
    return isinstance(tests, dict) and bool(tests.get("inputs")) and bool(tests.get("outputs"))


def _listed_tests(row: dict[str, Any]) -> dict[str, Any] | None:
    name = _FUNCTION.search(str(row.get("starter_code") or ""))
    if name is None:
        return None
    return {
        "fn_name": name[1],
        "inputs": [[_value(line) for line in t["input"].split("\n")] for t in row["test_list"]],
        "outputs": [t["output"] for t in row["test_list"]],
    }


def _value(line: str) -> Any:
    """An argument as it is written in a test: a Python value, or a text without its quotes."""
    try:
        return ast.literal_eval(line)
    except (ValueError, SyntaxError, TypeError, MemoryError):
        return line
