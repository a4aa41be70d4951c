r"""MATH (Hendrycks et al., 2021): 7,500 training and 5,000 test competition problems; and MATH-500.

The set has solutions and no field for the answer, which is the content of the solution's last box.
Two training problems (number_theory/7115 and 7117) have an empty box, hence no reference to score a
solution with; they are left out, so 7,498 are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from pipelines.config import SourceConfig
from pipelines.config.published import MATH_SUBJECTS
from pipelines.datasets.problem import Fields, NumberedRow, Unreadable, missing_text
from pipelines.datasets.records import choice, problems, records

_BOX = re.compile(r"\\(?:boxed|fbox)\s*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_LEVELS = (1, 2, 3, 4, 5)


def rows(source: SourceConfig, seed: int) -> Iterator[NumberedRow]:
    """MATH's problems; `options.levels` (1 to 5) and `options.subjects` choose among them.

    Two of the 12,500 problems have the level "?" and belong to no list of levels.
    """
    levels = choice(source, "levels", (), int)
    subjects = choice(source, "subjects", MATH_SUBJECTS, str)
    return problems(records(source, seed), partial(_problem, levels, subjects))


def _problem(levels: set[int], subjects: set[str], row: Fields) -> Fields | Unreadable | None:
    fault = missing_text(row, "problem", "solution")
    if fault:
        return fault
    answer = row.get("answer") or last_box(row["solution"])
    if answer is None and _BOX.search(row["solution"]):
        return None
    if answer is None:
        return Unreadable(r"'solution' must state its answer in \boxed{}; fix the row")
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

    Without braces (`\boxed 2`) it is the text up to the next space or `$`. This is not the reward's
    own extraction on purpose: references must not change with the reward's version.
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


def _level(value: object) -> int | None:
    digits = str(value).removeprefix("Level ").strip()
    return int(digits) if digits.isdigit() and int(digits) in _LEVELS else None


def _key(subject: str) -> str:
    return subject.lower().replace("&", "and").replace(" ", "_")
