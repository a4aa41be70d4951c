"""MBPP (Austin et al., 2021): 974 small Python functions, each with three assertions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pipelines.config import SourceConfig
from pipelines.datasets.code_problems import reference, unix_lines
from pipelines.datasets.problem import Fields, NumberedRow, Unreadable, missing_text
from pipelines.datasets.records import choice, problems, records

_SPLITS = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "validation": range(511, 601),
    "train": range(601, 975),
}


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The problems of one of MBPP's splits, which are ranges of `task_id`.

    The split is `options.split`, else the source's `split`, else train; of a split that MBPP does
    not have, all problems are read. `options.task_ids` chooses single problems instead. The
    question ends in the assertions, as in the prompt of the paper: they name the function.
    """
    split = str(source.options.get("split") or source.split or "train")
    wanted = choice(source, "task_ids", _SPLITS.get(split, range(1, 975)), int)
    return problems(records(source, seed), partial(_problem, wanted))


def _problem(wanted: set[int], row: Fields) -> Fields | Unreadable | None:
    text = "text" if "text" in row else "prompt"
    fault = missing_text(row, text, "code")
    if fault:
        return fault
    tests = row.get("test_list")
    if not isinstance(tests, list) or not tests:
        return Unreadable("must have assertions in 'test_list'; is this the right file?")
    if row.get("task_id") not in wanted:
        return None
    setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or [])
    assertions = "\n".join(test.strip() for test in tests)
    return {
        "question": f"{row[text].strip()} Your code should pass these tests:\n\n{assertions}",
        "reference": reference(test_list=tests, test_setup_code=setup),
        "solution": unix_lines(row["code"]),
        "task_id": row["task_id"],
    }
