"""`exact_match`: is the solution's final answer the reference, character by character?

BIG-Bench Hard's measure. Strict: "(A) because" is not "(A)", and "false" is not "False" unless
`ignore_case` is set; only white space is normalized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import ConfigError
from pipelines.rewards.answers.extraction import TEXT_FORMS
from pipelines.rewards.verdict import Verdict
from schemas.rewards import CORRECT, ERROR, NO_ANSWER, WRONG

VERSION = "1"
"""Raise it with every change that can change a verdict: verdicts are stored under it."""


@dataclass(frozen=True)
class ExactMatch:
    """The reward of a question whose answer is one exact text: 1 or 0.

    Attributes:
        forms: names in `TEXT_FORMS`, in order of preference; a solution that uses none of them has
            no answer.
        ignore_case: whether upper and lower case are the same.
    """

    forms: tuple[str, ...] = ("answer_is",)
    ignore_case: bool = False

    def __call__(self, solution: str, reference: str) -> Verdict:
        """The verdict; bounded work, safe in any process."""
        wanted = self._normalized(reference)
        if not wanted:
            return Verdict(0.0, ERROR, detail="the reference is empty")
        answer = self.stated_answer(solution)
        if answer is None:
            return Verdict(0.0, NO_ANSWER)
        equal = self._normalized(answer) == wanted
        return Verdict(float(equal), CORRECT if equal else WRONG, answer)

    def score_by_text(self, solution: str, reference: str) -> Verdict:
        """The verdict: this reward leaves nothing to a second step."""
        return self(solution, reference)

    def reject_echo(self, verdict: Verdict, reference: str, question: str) -> Verdict:
        """The verdict as it is: an option's letter may stand in the question."""
        return verdict

    def gold_solution(self, reference: str) -> str:
        """The shortest solution that states the reference: its verdict must be `correct`."""
        return TEXT_FORMS[self.forms[0]].state(reference.strip())

    def stated_answer(self, solution: str) -> str | None:
        """The final answer of a solution; None if it has none."""
        answers = (TEXT_FORMS[form].find(solution) for form in self.forms)
        return next((answer for answer in answers if answer), None)

    def answer_key(self, answer: str) -> str:
        """The answer as it is compared."""
        return self._normalized(answer)

    def same_answer(self, first: str, second: str) -> bool:
        """Whether answers with different keys are equal: they are not."""
        return False

    def _normalized(self, text: str) -> str:
        text = " ".join(text.split())
        return text.casefold() if self.ignore_case else text


def exact_match(extract: Sequence[str] = ("answer_is",), ignore_case: bool = False) -> ExactMatch:
    """The reward for `reward.options`.

    Raises:
        ConfigError: `extract` is not a list of known forms.
    """
    known = ", ".join(TEXT_FORMS)
    if isinstance(extract, str) or not extract or any(form not in TEXT_FORMS for form in extract):
        raise ConfigError(
            f"reward.options.extract must be a list of one or more of {known}, got {extract!r}"
        )
    return ExactMatch(tuple(extract), ignore_case)
