"""Finding the final answer in a solution.

Each form is a way in which solutions announce their answer. A solution that uses none of the forms
asked for has no answer: the whole text is never taken for one, because a checker that may search
the text for something equal to the reference finds it too often.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_SOLUTION = 50_000
"""Characters looked at, from the end: the final answer is there, and the work stays bounded."""

_BOX_TOKEN = re.compile(r"\\[\\{}]|\\(?:boxed|fbox)\s*\{|[{}]")
_BARE_BOX = re.compile(r"\\boxed\s+([^\s{}$\\.]+)")
_HASH = re.compile(r"####[ \t]*([^\n]*)")
_ANSWER_IS = re.compile(r"\b(?:the|final)[ \t]+answer[ \t]+is\b[ \t]*:?", re.IGNORECASE)
_MINERVA_END = re.compile(r"I hope it is correct\.?\Z", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!](?=\s)")
_NUMBER = re.compile(
    r"(?<![\w.,/])[-−+]?(?:[$€£])?[-−]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)?(?:\.[0-9]+)?"
    r"(?:/[0-9]+)?%?"
)


def boxed(solution: str) -> str | None:
    r"""The content of the last `\boxed{...}` that is closed; of nested ones the innermost."""
    opened: list[int | None] = []
    last: tuple[int, int] | None = None
    for token in _BOX_TOKEN.finditer(solution):
        text = token.group()
        if text == "}":
            start = opened.pop() if opened else None
            if start is not None and (last is None or start > last[0]):
                last = (start, token.start())
        elif text[-1] == "{" and text != r"\{":
            opened.append(token.end() if len(text) > 1 else None)
    if last is not None:
        return solution[last[0] : last[1]]
    bare = _BARE_BOX.findall(solution)
    return bare[-1] if bare else None


def hash_mark(solution: str) -> str | None:
    """What follows the last `####` on its line (GSM8K's form)."""
    found = _HASH.findall(solution)
    return found[-1] if found else None


def answer_is(solution: str) -> str | None:
    """What follows "the answer is" in the last line that has text, which it must end.

    Minerva's "The final answer is $x$. I hope it is correct." is the same form.
    """
    line = _MINERVA_END.sub("", _last_line(solution)).rstrip()
    found = list(_ANSWER_IS.finditer(line))
    if not found:
        return None
    answer = line[found[-1].end() :].strip()
    return None if _SENTENCE_END.search(answer) else answer


def last_line_number(solution: str) -> str | None:
    """The last number in the last line that has text."""
    found = [match.group() for match in _NUMBER.finditer(_last_line(solution))]
    found = [text for text in found if any(char.isdigit() for char in text)]
    return found[-1] if found else None


FORMS: dict[str, Callable[[str], str | None]] = {
    "boxed": boxed,
    "hash": hash_mark,
    "answer_is": answer_is,
    "last_line_number": last_line_number,
}
WRITTEN: dict[str, str] = {
    "boxed": r"\boxed{%s}",
    "hash": "#### %s",
    "answer_is": "The answer is %s.",
    "last_line_number": "%s",
}
"""How a solution states an answer in each form."""


def extract(solution: str, forms: tuple[str, ...]) -> str | None:
    """The final answer by the first of the forms that the solution uses.

    Args:
        solution: the text drawn; only its last `MAX_SOLUTION` characters are looked at.
        forms: names in `FORMS`, the preferred first.
    """
    tail = solution[-MAX_SOLUTION:]
    for form in forms:
        answer = FORMS[form](tail)
        if answer is not None and answer.strip():
            return _bare(answer)
    return None


def _bare(answer: str) -> str:
    """Without white space around it and the full stop of its sentence."""
    answer = answer.strip()
    return answer[:-1].rstrip() if answer.endswith(".") and len(answer) > 1 else answer


def _last_line(solution: str) -> str:
    stripped = solution.rstrip()
    return stripped[stripped.rfind("\n") + 1 :]
