r"""MATH (Hendrycks et al., 2021): 7,500 training and 5,000 test competition problems; and MATH-500.

The set has whole solutions and no field for the answer: it is what the solution's last box holds. Of
two training problems (number_theory/7115 and 7117) the box is empty: they have no answer that could
be verified, and are left out, so that 7,498 are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from pipelines.config import SourceConfig
from pipelines.config.published import MATH_SUBJECTS
from pipelines.datasets.problem import Row, Unreadable, lacking
from pipelines.datasets.records import choice, problems, records

_BOX = re.compile(r"\\(?:boxed|fbox)\s*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_LEVELS = (1, 2, 3, 4, 5)


def rows(source: SourceConfig, seed: int) -> Iterator[Row]:
    """MATH's problems; `options.levels` (1 to 5) and `options.subjects` leave the others out.

    Two of the 12,500 problems have the level "?": they have none, and no list of levels chooses
    them.
    """
    levels = choice(source, "levels", (), int)
    subjects = choice(source, "subjects", MATH_SUBJECTS, str)
    return problems(records(source, seed), partial(_problem, levels, subjects))


def _problem(
    levels: set[int], subjects: set[str], row: dict[str, Any]
) -> dict[str, Any] | Unreadable | None:
    fault = lacking(row, "problem", "solution")
    if fault:
        return fault
    answer = row.get("answer") or last_box(row["solution"])
    if answer is None and _BOX.search(row["solution"]):
        return None
    if answer is None:
        return Unreadable(r"'solution' must state its answer in \boxed{}; mend the row")
    subject = str(row.get("subject") or row.get("type") or "")
    level = _level(row.get("level"))
    if _key(subject) not in subjects or (levels and level not in levels):
        return None
    return {
        "question": row["problem"],
        "reference": answer,
        "solution": row["solution"],
        "subject": _key(subject),
        "level": level,
        **({"unique_id": row["unique_id"]} if "unique_id" in row else {}),
    }


def last_box(solution: str) -> str | None:
    r"""The content of the last `\boxed{...}` or `\fbox{...}` whose braces balance.

    Also of `\boxed 2`, which takes what follows up to the next space or `$`. Not the verifier's
    own extraction: a data set's answers must not change with the verifier's version.
    """
    for start in reversed([found.end() for found in _BOX.finditer(solution)]):
        content = _braced(solution, start) if solution[start : start + 1] == "{" else None
        if content is None and solution[start : start + 1] != "{":
            content = re.split(r"[\s$]", solution[start:], maxsplit=1)[0].rstrip(".")
        if content and content.strip():
            return content.strip()
    return None


def _braced(text: str, start: int) -> str | None:
    depth = 0
    for token in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(token.group(), 0)
        if depth == 0:
            return text[start + 1 : token.start()]
    return None


def _level(value: Any) -> int | None:
    digits = str(value).removeprefix("Level ").strip()
    return int(digits) if digits.isdigit() and int(digits) in _LEVELS else None


def _key(subject: str) -> str:
    return subject.lower().replace("&", "and").replace(" ", "_")
