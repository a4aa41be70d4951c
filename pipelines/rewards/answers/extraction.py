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
_PLACEHOLDER = re.compile(r"(?:\\phantom\{[^{}]*\}|\?)?")
"""A box of a form to be filled in, and no answer."""
_OPEN_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|\Z)")
_HASH = re.compile(r"####[ \t]*([^\n]*)")
_ANSWER_IS = re.compile(
    r"\b(?:the|final)[ \t]+answer[ \t]+is\b[ \t]*:?|\b(?:final[ \t]+)?answer[ \t]*\*{0,2}:\*{0,2}",
    re.IGNORECASE,
)
_MINERVA_START, _MINERVA_CLOSE = "the final answer is", "i hope it is correct"
_MINERVA_LONGEST = 2_000
_MINERVA_END = re.compile(r"I hope it is correct\.?\Z", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!](?=\s)")
_NUMBER = re.compile(
    r"(?<![\w.,/])[-−+]?(?:[$€£])?[-−]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)?(?:\.[0-9]+)?"
    r"(?:/[0-9]+)?%?"
)


def boxes(solution: str) -> list[str]:
    r"""The contents of the `\boxed{...}` that are closed, in order; of nested ones the innermost."""
    opened: list[int | None] = []
    found: list[tuple[int, int]] = []
    for token in _BOX_TOKEN.finditer(solution):
        text = token.group()
        if text == "}":
            start = opened.pop() if opened else None
            # A box that holds the last one found is its wrapping.
            if start is not None and not (found and start < found[-1][0]):
                found.append((start, token.start()))
        elif text[-1] == "{" and text != r"\{":
            opened.append(token.end() if len(text) > 1 else None)
    if found:
        return [solution[start:end] for start, end in found]
    return _BARE_BOX.findall(solution)


def boxed(solution: str) -> str | None:
    r"""The content of the last `\boxed{...}` that is closed."""
    found = boxes(solution)
    return found[-1] if found else None


def is_cut(solution: str) -> bool:
    r"""Whether a `\boxed{` was opened and none closed: the answer was begun and not ended."""
    return _OPEN_BOX.search(solution) is not None and not boxes(solution)


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


def minerva(solution: str) -> str | None:
    """The last "Final Answer: The final answer is $x$. I hope it is correct.", wherever it stands."""
    text = solution.lower()
    end = text.rfind(_MINERVA_CLOSE)
    start = text.rfind(_MINERVA_START, max(0, end - _MINERVA_LONGEST), max(0, end))
    if start < 0 or len(text) != len(solution):
        return None
    return solution[start + len(_MINERVA_START) : end].strip().removesuffix(".")


def last_line(solution: str) -> str | None:
    """The last line that has text, as a whole."""
    return _last_line(solution)


def last_line_number(solution: str) -> str | None:
    """The last number in the last line that has text."""
    found = [match.group() for match in _NUMBER.finditer(_last_line(solution))]
    found = [text for text in found if any(char.isdigit() for char in text)]
    return found[-1] if found else None


FORMS: dict[str, Callable[[str], str | None]] = {
    "boxed": boxed,
    "hash": hash_mark,
    "answer_is": answer_is,
    "minerva": minerva,
    "last_line": last_line,
    "last_line_number": last_line_number,
}
WRITTEN: dict[str, str] = {
    "boxed": r"\boxed{%s}",
    "hash": "#### %s",
    "answer_is": "The answer is %s.",
    "minerva": "Final Answer: The final answer is $%s$. I hope it is correct.",
    "last_line": "%s",
    "last_line_number": "%s",
}
"""How a solution states an answer in each form."""


class Cut(Exception):
    r"""The solution ends inside its answer."""


def extract(solution: str, forms: tuple[str, ...]) -> list[str]:
    r"""The final answer by the first of the forms that the solution uses; none if it uses none.

    Only boxes can be several: each that is spelled differently is given, the last box last.

    Args:
        solution: the text drawn; only its last `MAX_SOLUTION` characters are looked at.
        forms: names in `FORMS`, the preferred first.

    Raises:
        Cut: `boxed` was reached, and a box was opened and none closed.
    """
    tail = solution[-MAX_SOLUTION:]
    for form in forms:
        if form == "boxed":
            if is_cut(tail):
                raise Cut
            found = boxes(tail)
        else:
            answer = FORMS[form](tail)
            found = [] if answer is None else [answer]
        answers = [_bare(answer) for answer in found if not _PLACEHOLDER.fullmatch(answer.strip())]
        if answers and found[-1].strip():
            return _distinct(answers)
    return []


def _distinct(answers: list[str]) -> list[str]:
    """Each once, at the place where it stands last."""
    return list(dict.fromkeys(reversed(answers)))[::-1]


def _bare(answer: str) -> str:
    """Without white space around it and the full stop of its sentence."""
    answer = answer.strip()
    return answer[:-1].rstrip() if answer.endswith(".") and len(answer) > 1 else answer


def _last_line(solution: str) -> str:
    stripped = solution.rstrip()
    return stripped[stripped.rfind("\n") + 1 :]
