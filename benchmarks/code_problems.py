"""Code problems with solutions from local files, as (name, reference, program) for benchmarks."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple


class Solved(NamedTuple):
    """A problem's tests and a program that should pass them."""

    name: str
    reference: str
    program: str


def human_eval(folder: Path) -> list[Solved]:
    """HumanEval's problems with their canonical solutions, as whole programs."""
    with gzip.open(folder / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        Solved(row["task_id"], json.dumps(row), row["prompt"] + row["canonical_solution"])
        for row in rows
    ]


def mbpp(folder: Path) -> list[Solved]:
    """MBPP's problems with their reference code."""
    rows = _lines(folder / "mbpp" / "mbpp.jsonl")
    return [Solved(f"MBPP/{row['task_id']}", json.dumps(row), row["code"]) for row in rows]


def apps(folder: Path) -> list[Solved]:
    """Every human solution of the APPS training problems in the folder."""
    return [
        Solved(f"APPS/{row['problem_id']}/{number}", _apps_reference(row), program)
        for row in _lines(folder / "apps" / "coderl_train5.jsonl")
        for number, program in enumerate(row["solutions"])
    ]


def apps_generated(folder: Path) -> list[tuple[Solved, dict[str, Any]]]:
    """Programs that a model wrote for these problems, with CodeRL's record of each."""
    return [
        (Solved(f"APPS/{row['problem_id']}/g{i}", _apps_reference(row), given["code"]), given)
        for row in _lines(folder / "apps" / "coderl_train5.jsonl")
        for i, given in enumerate(row["generated"])
    ]


def in_a_fence(program: str) -> str:
    """A program as a solution that states it."""
    return f"```python\n{program}\n```"


def as_one_program(problem: Solved) -> str:
    """The program and its tests in one file, as HumanEval's own harness runs them."""
    fields = json.loads(problem.reference)
    if "test_list" in fields:
        tests = [fields.get("test_setup_code", ""), *fields["test_list"]]
    else:
        tests = [fields["test"], f"check({fields['entry_point']})"]
    return "\n".join([problem.program, *tests])


def _apps_reference(row: dict[str, Any]) -> str:
    return json.dumps({"input_output": row["input_output"]})


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
