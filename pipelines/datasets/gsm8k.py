"""GSM8K (Cobbe et al., 2021): 7,473 training and 1,319 test grade-school story problems."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.config import SourceConfig
from pipelines.datasets.problem import Fields, NumberedRow, Unreadable, missing_text
from pipelines.datasets.records import problems, records

_ANNOTATION = re.compile(r"<<[^<>]*>>")


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """The problems; the reference is the text after `####`.

    Calculator annotations such as `<<48/2=24>>` are removed from the solutions.
    """
    return problems(records(source, seed), _problem)


def _problem(row: Fields) -> Fields | Unreadable:
    fault = missing_text(row, "question", "answer")
    if fault:
        return fault
    _, mark, answer = row["answer"].rpartition("####")
    if not mark or not answer.strip():
        return Unreadable("'answer' must end in '#### ' and the final answer; fix the row")
    return {
        "question": row["question"],
        "reference": answer.strip(),
        "solution": _ANNOTATION.sub("", row["answer"]),
    }
