"""MBPP (Austin et al., 2021): 974 small Python functions, each with three assertions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from pipelines.config import SourceConfig
from pipelines.datasets.code_problems import reference, unix_lines
from pipelines.datasets.problem import Row, Unreadable, lacking
from pipelines.datasets.records import choice, problems, records

_SPLITS = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "validation": range(511, 601),
    "train": range(601, 975),
}


def rows(source: SourceConfig, seed: int) -> Iterator[Row]:
    """The problems of one of MBPP's own splits, which are ranges of `task_id`.

    The split is `options.split`, else the source's `split`, else train, from the hub and from the
    one file that holds all of them; a split that MBPP does not have takes them all.
    `options.task_ids` chooses single problems. The question ends in the assertions, as in the
    paper's prompt: they give the function its name.
    """
    split = str(source.options.get("split") or source.split or "train")
    wanted = choice(source, "task_ids", _SPLITS.get(split, range(1, 975)), int)
    return problems(records(source, seed), partial(_problem, wanted))


def _problem(wanted: set[int], row: dict[str, Any]) -> dict[str, Any] | Unreadable | None:
    text = "text" if "text" in row else "prompt"
    fault = lacking(row, text, "code")
    if fault:
        return fault
    tests = row.get("test_list")
    if not isinstance(tests, list) or not tests:
        return Unreadable("must have assertions in 'test_list'; is this the right file?")
    if row.get("task_id") not in wanted:
        return None
    setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or [])
    return {
        "question": with_tests(row[text], tests),
        "reference": reference(test_list=tests, test_setup_code=setup),
        "solution": unix_lines(row["code"]),
        "task_id": row["task_id"],
    }


def with_tests(text: str, tests: list[str]) -> str:
    """The task and its assertions, as the paper's prompt has them."""
    lines = "\n".join(test.strip() for test in tests)
    return f"{text.strip()} Your code should pass these tests:\n\n{lines}"
