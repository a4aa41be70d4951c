"""`exact_match`: does the solution's final answer have the reference's very characters?

BIG-Bench Hard's measure. Strict: "(A) because" is not "(A)", and "false" is not "False" unless
`ignore_case` says so; only white space is folded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.errors import ConfigError
from pipelines.rewards.verdict import Verdict
from schemas.rewards import CORRECT, ERROR, NO_ANSWER, WRONG

EXACT_MATCH_VERSION = "1"
"""Raise it with every change that can change a verdict: it tells stored verdicts apart."""

_ANSWER_IS = re.compile(r"\banswer is\b:?", re.IGNORECASE)


def after_answer_is(solution: str) -> str | None:
    """What follows the last "answer is" on its line, without the sentence's full stop."""
    found = list(_ANSWER_IS.finditer(solution))
    if not found:
        return None
    return solution[found[-1].end() :].partition("\n")[0].strip().removesuffix(".").rstrip()


def first_line(solution: str) -> str | None:
    """The first line that has text: a direct answer, without reasoning before it."""
    return next((line.strip() for line in solution.splitlines() if line.strip()), None)


ANSWER_FORMS: dict[str, Callable[[str], str | None]] = {
    "answer_is": after_answer_is,
    "first_line": first_line,
}
_STATED = {"answer_is": "So the answer is %s.", "first_line": "%s"}


@dataclass(frozen=True)
class ExactMatch:
    """The reward of a question with one right text: 1 or 0.

    Attributes:
        forms: names in `ANSWER_FORMS`, the preferred first; a solution that uses none of them has
            no answer.
        ignore_case: whether capitals make no difference.
    """

    forms: tuple[str, ...] = ("answer_is",)
    ignore_case: bool = False

    def __call__(self, solution: str, reference: str) -> Verdict:
        """Judge; bounded work, safe in any process."""
        wanted = self._folded(reference)
        if not wanted:
            return Verdict(0.0, ERROR, detail="the reference is empty")
        answer = self._answer(solution)
        if answer is None:
            return Verdict(0.0, NO_ANSWER)
        equal = self._folded(answer) == wanted
        return Verdict(float(equal), CORRECT if equal else WRONG, answer)

    def glance(self, solution: str, reference: str) -> Verdict:
        """The verdict, as a staged reward gives it: nothing is left to examine."""
        return self(solution, reference)

    def knowing(self, verdict: Verdict, reference: str, question: str) -> Verdict:
        """The verdict when the question is known: the same, an option's letter may stand in it."""
        return verdict

    def gold_solution(self, reference: str) -> str:
        """The shortest solution that states the reference: it must be found correct."""
        return _STATED[self.forms[0]].replace("%s", reference.strip())

    def _answer(self, solution: str) -> str | None:
        answers = (ANSWER_FORMS[form](solution) for form in self.forms)
        return next((answer for answer in answers if answer), None)

    def _folded(self, text: str) -> str:
        folded = " ".join(text.split())
        return folded.casefold() if self.ignore_case else folded


def exact_match(extract: Sequence[str] = ("answer_is",), ignore_case: bool = False) -> ExactMatch:
    """The reward for `reward.options`.

    Raises:
        ConfigError: `extract` is not a list of known forms.
    """
    known = ", ".join(ANSWER_FORMS)
    if isinstance(extract, str) or not extract or any(form not in ANSWER_FORMS for form in extract):
        raise ConfigError(
            f"reward.options.extract must be a list of one or more of {known}, got {extract!r}"
        )
    return ExactMatch(tuple(extract), ignore_case)
