r"""Whether an answer repeats the question: `(x+1)^2` for "Expand $(x+1)^2$".

It equals the reference, and yet nothing was done. The reference alone cannot tell, since that form
may be the one asked for; the question can. An answer spelled like the reference is never an echo,
and neither is a number that has no form to be changed (a fraction has one, `20\%` has none):
questions offer answers, and numbers recur.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pipelines.rewards.answers.equality import is_number, spelled

SHORTEST, LONGEST = 4, 500
"""Length of an echo without its spaces: a shorter answer is a name or a sign, a longer one prose."""

_FRACTION = re.compile(r"([0-9]+)/([0-9]+)")
_HAS_A_FORM = (r"\frac", r"\overline")


def is_echo(answer: str, reference: str, question: str) -> bool:
    """Whether an answer that equals the reference only repeats a formula of the question.

    Args:
        answer: the answer extracted from a solution.
        reference: the correct answer.
        question: the problem's text.
    """
    if "=" in answer and "=" not in reference:
        answer = answer.rpartition("=")[2]
    given = _respelled(answer).replace(" ", "")
    if not SHORTEST <= len(given) <= LONGEST or given == _respelled(reference).replace(" ", ""):
        return False
    if is_number(answer) and not any(form in given for form in _HAS_A_FORM):
        return False
    return _formula(given).search(_respelled(question)) is not None


@lru_cache(maxsize=4_096)  # a question has many solutions
def _respelled(text: str) -> str:
    return _FRACTION.sub(r"\\frac{\1}{\2}", spelled(text))


@lru_cache(maxsize=4_096)
def _formula(given: str) -> re.Pattern[str]:
    """Matches the whole formula with any spacing: `x + 1` is not in `2x + 1` or `x + 12`."""
    inside = " ?".join(map(re.escape, given))
    return re.compile(rf"(?<![A-Za-z0-9\\^_.]){inside}(?![A-Za-z0-9^])")
