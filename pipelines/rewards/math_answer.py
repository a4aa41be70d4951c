"""`math_answer`: is the solution's final answer equal to the reference?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import ConfigError
from pipelines.rewards.answers.echo import is_echo
from pipelines.rewards.answers.equality import clean, decide
from pipelines.rewards.answers.extraction import (
    FORMS,
    WRITTEN,
    Cut,
    boxed,
    boxes,
    extract,
    hash_mark,
)
from pipelines.rewards.verdict import Verdict
from schemas.rewards import AMBIGUOUS, CORRECT, ERROR, NO_ANSWER, PARSE_ERROR, TRUNCATED, WRONG

VERSION = "3"
"""Raise it with every change that can change a verdict: it tells stored verdicts apart."""

DEFAULT_FORMS = ("boxed", "hash", "answer_is")
REFUSE, LAST = "refuse", "last"
_BOX = r"\boxed{"


@dataclass(frozen=True)
class MathAnswer:
    """The reward of a mathematics problem with one right answer: 1 or 0.

    Judging has two steps. `glance` takes the answer out of the solution and compares text and exact
    numbers: bounded work, safe in any process. What it cannot decide it returns as text for
    `examine`, which asks math-verify and may hang: that is for a process that can be killed.

    Attributes:
        forms: ways in which a solution may state its answer, the preferred first.
        several_boxes: what to do with boxes that differ: `refuse` them, or judge the `last`, as the
            MATH benchmark's own checker does.
    """

    forms: tuple[str, ...] = DEFAULT_FORMS
    several_boxes: str = REFUSE

    def __call__(self, solution: str, reference: str) -> Verdict:
        """Judge at once, without a deadline."""
        seen = self.glance(solution, reference)
        return seen if isinstance(seen, Verdict) else self.examine(seen, reference)

    def glance(self, solution: str, reference: str) -> Verdict | str:
        """The verdict if text and numbers decide it, else the answer that is left to examine."""
        wanted = reference_answer(reference)
        if not wanted:
            return Verdict(0.0, ERROR, detail="the reference is empty")
        try:
            answers = extract(solution, self.forms)
        except Cut:
            return Verdict(0.0, TRUNCATED)
        if not answers:
            return Verdict(0.0, NO_ANSWER)
        if self.several_boxes == LAST:
            del answers[:-1]
        verdicts = [decide(answer, wanted) for answer in answers]
        if None not in verdicts:
            return _verdict_of_all(answers, [equal is True for equal in verdicts])
        return answers[0] if len(answers) == 1 else "".join(map(_box, answers))

    def examine(self, answer: str, reference: str) -> Verdict:
        r"""Compare an answer that `glance` left open with the reference as mathematics.

        Several answers come as a row of boxes.
        """
        from pipelines.rewards.answers.symbolic import NotMathematics

        answers = (boxes(answer) if answer.startswith(_BOX) else []) or [answer]
        try:
            equal = [self._equals(each, reference_answer(reference)) for each in answers]
        except NotMathematics as error:
            return Verdict(0.0, PARSE_ERROR, answers[-1], detail=f"cannot be read: {error}"[:200])
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - sympy raises anything; none of it means wrong
            return Verdict(
                0.0, PARSE_ERROR, answers[-1], detail=f"{type(error).__name__}: {error}"[:200]
            )
        return _verdict_of_all(answers, equal)

    def _equals(self, answer: str, wanted: str) -> bool:
        from pipelines.rewards.answers.symbolic import symbolically_equal

        equal = decide(answer, wanted)
        return symbolically_equal(clean(answer), clean(wanted)) if equal is None else equal

    def knowing(self, verdict: Verdict, reference: str, question: str) -> Verdict:
        """The verdict when the question is known: an answer that only repeats it is wrong."""
        if verdict.verdict != CORRECT or verdict.extracted is None:
            return verdict
        if not is_echo(verdict.extracted, reference_answer(reference), question):
            return verdict
        return Verdict(0.0, WRONG, verdict.extracted)

    def warm_up(self) -> None:
        """Load what `examine` needs."""
        from pipelines.rewards.answers.symbolic import warm_up

        warm_up()

    def gold_solution(self, reference: str) -> str:
        """The shortest solution that states the reference: the verifier must find it correct."""
        return WRITTEN[self.forms[0]].replace("%s", reference_answer(reference))


def math_answer(extract: Sequence[str] = DEFAULT_FORMS, several_boxes: str = REFUSE) -> MathAnswer:
    """The reward for `reward.options`.

    Raises:
        ConfigError: `extract` is not a list of known forms, or `several_boxes` is unknown.
    """
    known = ", ".join(FORMS)
    if isinstance(extract, str) or not extract:
        raise ConfigError(
            f"reward.options.extract must be a list of one or more of {known}, got {extract!r}"
        )
    for form in extract:
        if form not in FORMS:
            raise ConfigError(f"reward.options.extract must name only {known}, got {form!r}")
    if several_boxes not in (REFUSE, LAST):
        raise ConfigError(
            f"reward.options.several_boxes must be {REFUSE} or {LAST}, got {several_boxes!r}"
        )
    return MathAnswer(tuple(extract), several_boxes)


def reference_answer(reference: str) -> str:
    r"""The answer in a reference: it may be bare, or a whole solution that ends in `####` or a box."""
    if "####" in reference:
        return (hash_mark(reference) or "").strip()
    if r"\boxed" in reference:
        return (boxed(reference) or "").strip()
    return reference.strip()


def _verdict_of_all(answers: list[str], equal: list[bool]) -> Verdict:
    """The verdict on a solution's final answers: correct if all are, ambiguous if they differ."""
    if all(equal):
        return Verdict(1.0, CORRECT, answers[-1])
    if len(answers) > 1 and (any(equal) or not _all_same(answers)):
        return Verdict(0.0, AMBIGUOUS, " and ".join(answers))
    return Verdict(0.0, WRONG, answers[-1])


def _all_same(answers: list[str]) -> bool:
    return all(decide(answer, answers[-1]) for answer in answers[:-1])


def _box(answer: str) -> str:
    return f"{_BOX}{answer}}}"
