"""The final answer of a solution, by the form in which the solution states it.

A solution that uses none of the forms asked for has no answer. The whole text is never taken for
one: a checker that may search the text for something equal to the reference finds it too often.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.rewards.answers.brackets import boxes
from pipelines.rewards.answers.exact_numbers import THOUSANDS

MAX_SOLUTION = 50_000
"""Characters read, from the end: the final answer is there, and the work stays bounded."""

_PLACEHOLDER = re.compile(r"(?:\\phantom\{[^{}]*\}|\?)?")
"""The content of a box that is to be filled in, and no answer."""
_OPEN_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|\Z)")
_HASH = re.compile(r"####[ \t]*([^\n]*)")
_THE_ANSWER_IS = re.compile(
    r"\b(?:the|final)[ \t]+answer[ \t]+is\b[ \t]*:?|\b(?:final[ \t]+)?answer[ \t]*\*{0,2}:\*{0,2}",
    re.IGNORECASE,
)
_ANY_ANSWER_IS = re.compile(r"\banswer is\b:?", re.IGNORECASE)
_MINERVA_START, _MINERVA_CLOSE = "the final answer is", "i hope it is correct"
_MINERVA_LONGEST = 2_000
_MINERVA_END = re.compile(r"I hope it is correct\.?\Z", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!](?=\s)")
_NUMBER = re.compile(
    rf"(?<![\w.,/])[-−+]?(?:[$€£])?[-−]?(?:{THOUSANDS}|[0-9]+)?(?:\.[0-9]+)?(?:/[0-9]+)?%?"
)


class Cut(Exception):
    r"""The solution ends inside its answer."""


@dataclass(frozen=True)
class AnswerForm:
    """A form in which solutions state their answer.

    Attributes:
        find: the answer stated in this form in a solution, or None.
        template: a statement of the answer `%s` in this form.
    """

    find: Callable[[str], str | None]
    template: str

    def state(self, answer: str) -> str:
        """The shortest solution that states the answer in this form."""
        return self.template.replace("%s", answer)


def extract(solution: str, forms: tuple[str, ...]) -> list[str]:
    r"""The final answer in the first of the forms that the solution uses; empty if it uses none.

    Boxes may give several: each distinct spelling once, the last box last.

    Args:
        solution: the generated text; only its last `MAX_SOLUTION` characters are read.
        forms: names in `MATH_FORMS`, in order of preference.

    Raises:
        Cut: `boxed` was reached, and a box was opened and none closed.
    """
    tail = solution[-MAX_SOLUTION:]
    for form in forms:
        if form == "boxed":
            found = boxes(tail)
            if not found and _OPEN_BOX.search(tail):
                raise Cut
        else:
            answer = MATH_FORMS[form].find(tail)
            found = [] if answer is None else [answer]
        answers = [_bare(answer) for answer in found if not _PLACEHOLDER.fullmatch(answer.strip())]
        if answers and found[-1].strip():
            return list(dict.fromkeys(reversed(answers)))[::-1]  # each where it stands last
    return []


def _bare(answer: str) -> str:
    """The answer without surrounding white space and the full stop of its sentence."""
    answer = answer.strip()
    return answer[:-1].rstrip() if answer.endswith(".") and len(answer) > 1 else answer


def boxed(solution: str) -> str | None:
    r"""The content of the last `\boxed{...}` that is closed."""
    found = boxes(solution)
    return found[-1] if found else None


def hash_mark(solution: str) -> str | None:
    """What follows the last `####` on its line (GSM8K's form)."""
    found = _HASH.findall(solution)
    return found[-1] if found else None


def the_answer_is(solution: str) -> str | None:
    """What follows "the answer is" in the last line that has text, and ends that line.

    Minerva's "The final answer is $x$. I hope it is correct." is the same form.
    """
    line = _MINERVA_END.sub("", last_line(solution)).rstrip()
    found = list(_THE_ANSWER_IS.finditer(line))
    if not found:
        return None
    answer = line[found[-1].end() :].strip()
    return None if _SENTENCE_END.search(answer) else answer


def minerva(solution: str) -> str | None:
    """The last "Final Answer: The final answer is $x$. I hope it is correct.", on any line."""
    text = solution.lower()
    end = text.rfind(_MINERVA_CLOSE)
    start = text.rfind(_MINERVA_START, max(0, end - _MINERVA_LONGEST), max(0, end))
    if start < 0 or len(text) != len(solution):
        return None
    return solution[start + len(_MINERVA_START) : end].strip().removesuffix(".")


def last_line(solution: str) -> str:
    """The last line that has text; empty if none has."""
    stripped = solution.rstrip()
    return stripped[stripped.rfind("\n") + 1 :]


def last_line_number(solution: str) -> str | None:
    """The last number in the last line that has text."""
    found = [match.group() for match in _NUMBER.finditer(last_line(solution))]
    found = [text for text in found if any(char.isdigit() for char in text)]
    return found[-1] if found else None


def any_answer_is(solution: str) -> str | None:
    """What follows the last "answer is", on any line, up to the line's end and its full stop."""
    found = list(_ANY_ANSWER_IS.finditer(solution))
    if not found:
        return None
    return solution[found[-1].end() :].partition("\n")[0].strip().removesuffix(".").rstrip()


def first_line(solution: str) -> str | None:
    """The first line that has text: a direct answer, without reasoning before it."""
    return next((line.strip() for line in solution.splitlines() if line.strip()), None)


MATH_FORMS = {
    "boxed": AnswerForm(boxed, r"\boxed{%s}"),
    "hash": AnswerForm(hash_mark, "#### %s"),
    "answer_is": AnswerForm(the_answer_is, "The answer is %s."),
    "minerva": AnswerForm(minerva, "Final Answer: The final answer is $%s$. I hope it is correct."),
    "last_line": AnswerForm(last_line, "%s"),
    "last_line_number": AnswerForm(last_line_number, "%s"),
}
"""Forms of `math_answer`, by their name in `reward.options.extract`."""

TEXT_FORMS = {
    "answer_is": AnswerForm(any_answer_is, "So the answer is %s."),
    "first_line": AnswerForm(first_line, "%s"),
}
"""Forms of `exact_match`: its `answer_is` accepts text after the answer's line."""
