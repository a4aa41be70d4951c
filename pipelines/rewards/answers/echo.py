r"""Whether an answer is the question again: `(x+1)^2` to "Expand $(x+1)^2$".

It equals the reference, and yet nothing was done. The reference alone cannot tell, since it may have
been asked for in that form; the question can. An answer that is spelled as the reference is never an
echo, nor is a number without a form to be changed (a fraction has one, `20\%` has none): questions
offer answers, and numbers recur.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pipelines.rewards.answers.equality import is_number, spelled

SHORTEST, LONGEST = 4, 500
"""Characters, spaces apart. A shorter answer is a name or a sign; a longer one is no formula."""

_FRACTION = re.compile(r"([0-9]+)/([0-9]+)")
_WITH_A_FORM = (r"\frac", r"\overline")


def is_echo(answer: str, reference: str, question: str) -> bool:
    """Whether an answer that equals the reference only repeats a formula of the question.

    Args:
        answer: the answer taken out of a solution.
        reference: the answer wanted.
        question: the problem's text.
    """
    if "=" in answer and "=" not in reference:
        answer = answer.rpartition("=")[2]
    given = _squeezed(answer)
    if not SHORTEST <= len(given) <= LONGEST or given == _squeezed(reference):
        return False
    if is_number(answer) and not any(form in given for form in _WITH_A_FORM):
        return False
    return _formula(given).search(_respelled(question)) is not None


def _squeezed(text: str) -> str:
    return _respelled(text).replace(" ", "")


@lru_cache(maxsize=4_096)  # a question is asked of many solutions
def _respelled(text: str) -> str:
    return _FRACTION.sub(r"\\frac{\1}{\2}", spelled(text))


@lru_cache(maxsize=4_096)
def _formula(given: str) -> re.Pattern[str]:
    """The formula, spaced in any way, as a whole: `x + 1` is not in `2x + 1` or `x + 12`."""
    inside = " ?".join(map(re.escape, given))
    return re.compile(rf"(?<![A-Za-z0-9\\^_.]){inside}(?![A-Za-z0-9^])")
