"""GSM8K (Cobbe et al., 2021): 7,473 training and 1,319 test grade-school story problems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.config import SourceConfig
from pipelines.datasets.problem import Row, Unreadable, lacking
from pipelines.datasets.records import problems, records

_CALCULATION = re.compile(r"<<[^<>]*>>")
_MARK = "####"


def rows(source: SourceConfig, seed: int) -> Iterator[Row]:
    """The problems; the reference is what follows `####`.

    The solutions' `<<48/2=24>>` marks, which are for a calculator, are taken out.
    """
    return problems(records(source, seed), _problem)


def _problem(row: dict[str, Any]) -> dict[str, Any] | Unreadable:
    fault = lacking(row, "question", "answer")
    if fault:
        return fault
    _, mark, answer = row["answer"].rpartition(_MARK)
    if not mark or not answer.strip():
        return Unreadable("'answer' must end in '#### ' and the final answer; mend the row")
    return {
        "question": row["question"],
        "reference": answer.strip(),
        "solution": _CALCULATION.sub("", row["answer"]),
    }
