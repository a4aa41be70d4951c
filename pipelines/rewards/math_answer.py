"""`math_answer`: is the solution's final answer equal to the reference?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from pipelines.errors import ConfigError
from pipelines.rewards.answers.brackets import boxes
from pipelines.rewards.answers.echo import is_echo
from pipelines.rewards.answers.equality import answer_key, clean, decide
from pipelines.rewards.answers.extraction import MATH_FORMS, Cut, boxed, extract, hash_mark
from pipelines.rewards.answers.parts import together
from pipelines.rewards.verdict import Verdict
from schemas.rewards import AMBIGUOUS, CORRECT, ERROR, NO_ANSWER, PARSE_ERROR, TRUNCATED, WRONG

VERSION = "4"
"""Raise it with every change that can change a verdict: verdicts are stored under it."""

DEFAULT_FORMS = ("boxed", "hash", "answer_is")
REFUSE, LAST = "refuse", "last"


@dataclass(frozen=True)
class MathAnswer:
    """The reward of a mathematics problem with one correct answer: 1 or 0.

    Scoring has two steps. `score_by_text` extracts the answer and compares it as text, as exact
    numbers and by school algebra: bounded work, safe in any process. An answer that it cannot decide
    goes to `score_symbolically`, which asks math-verify and may hang: run it in a process that can
    be killed.

    Attributes:
        forms: forms in which a solution may state its answer, in order of preference.
        several_boxes: what to do with boxes that differ: `refuse` them, unless they state the parts of
            a reference between them, or score the `last`, as the MATH benchmark's own checker does.
    """

    forms: tuple[str, ...] = DEFAULT_FORMS
    several_boxes: str = REFUSE

    def __call__(self, solution: str, reference: str) -> Verdict:
        """The verdict, by both steps and without a deadline."""
        result = self.score_by_text(solution, reference)
        return result if isinstance(result, Verdict) else self.score_symbolically(result, reference)

    def score_by_text(self, solution: str, reference: str) -> Verdict | str:
        """The verdict if bounded work decides it, else the answer to `score_symbolically`."""
        wanted = reference_answer(reference)
        if not wanted:
            return Verdict(0.0, ERROR, detail="the reference is empty")
        try:
            answers = extract(solution, self.forms)
        except Cut:
            return Verdict(0.0, TRUNCATED)
        if not answers:
            return Verdict(0.0, NO_ANSWER)
        answers = answers[-1:] if self.several_boxes == LAST else together(answers, wanted)
        verdicts = [decide(answer, wanted) for answer in answers]
        if None not in verdicts:
            return _verdict_of_all(answers, [equal is True for equal in verdicts])
        if len(answers) == 1:
            return answers[0]
        return "".join(rf"\boxed{{{answer}}}" for answer in answers)

    def score_symbolically(self, answer: str, reference: str) -> Verdict:
        r"""The verdict on an answer that `score_by_text` returned, by math-verify.

        Args:
            answer: the answer; several as a row of `\boxed{}`.
            reference: the problem's reference.
        """
        # It loads sympy, which takes seconds.
        from pipelines.rewards.answers.symbolic import NotMathematics, symbolically_equal

        wanted = reference_answer(reference)
        answers = (boxes(answer) if answer.startswith(r"\boxed{") else []) or [answer]
        verdicts = []
        try:
            for each in answers:
                equal = decide(each, wanted)
                if equal is None:
                    equal = symbolically_equal(clean(each), clean(wanted))
                verdicts.append(equal)
        except NotMathematics as error:
            detail = f"cannot be read: {error}"
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - sympy raises anything; none of it means wrong
            detail = f"{type(error).__name__}: {error}"
        else:
            return _verdict_of_all(answers, verdicts)
        return Verdict(0.0, PARSE_ERROR, answers[-1], detail=detail[:200])

    def reject_echo(self, verdict: Verdict, reference: str, question: str) -> Verdict:
        """The verdict, or `wrong` if a correct answer only repeats the question."""
        if verdict.verdict != CORRECT or verdict.extracted is None:
            return verdict
        if not is_echo(verdict.extracted, reference_answer(reference), question):
            return verdict
        return Verdict(0.0, WRONG, verdict.extracted)

    def stated_answer(self, solution: str) -> str | None:
        """The one final answer of a solution; None if it has none, or several that differ."""
        try:
            answers = extract(solution, self.forms)
        except Cut:
            return None
        if self.several_boxes == LAST or all(
            decide(answer, answers[-1]) for answer in answers[:-1]
        ):
            return answers[-1] if answers else None
        return None

    def answer_key(self, answer: str) -> Hashable:
        """A key that only equal answers share: see pipelines/rewards/votes.py."""
        return answer_key(answer)

    def same_answer(self, first: str, second: str) -> bool:
        """Whether each of two answers would be correct if the other were the reference."""
        return decide(first, second) is True and decide(second, first) is True

    def warm_up(self) -> None:
        """Load what `score_symbolically` needs."""
        from pipelines.rewards.answers.symbolic import warm_up

        warm_up()

    def gold_solution(self, reference: str) -> str:
        """The shortest solution that states the reference: its verdict must be `correct`."""
        return MATH_FORMS[self.forms[0]].state(reference_answer(reference))


def math_answer(extract: Sequence[str] = DEFAULT_FORMS, several_boxes: str = REFUSE) -> MathAnswer:
    """The reward for `reward.options`.

    Raises:
        ConfigError: `extract` is not a list of known forms, or `several_boxes` is unknown.
    """
    known = ", ".join(MATH_FORMS)
    if isinstance(extract, str) or not extract:
        raise ConfigError(
            f"reward.options.extract must be a list of one or more of {known}, got {extract!r}"
        )
    for form in extract:
        if form not in MATH_FORMS:
            raise ConfigError(f"reward.options.extract must name only {known}, got {form!r}")
    if several_boxes not in (REFUSE, LAST):
        raise ConfigError(
            f"reward.options.several_boxes must be {REFUSE} or {LAST}, got {several_boxes!r}"
        )
    return MathAnswer(tuple(extract), several_boxes)


def reference_answer(reference: str) -> str:
    r"""The answer in a reference, which may be bare or a whole solution with `####` or a box."""
    if "####" in reference:
        return (hash_mark(reference) or "").strip()
    if r"\boxed" in reference:
        return (boxed(reference) or "").strip()
    return reference.strip()


def _verdict_of_all(answers: list[str], equal: list[bool]) -> Verdict:
    """The verdict on a solution's final answers: correct if all are, ambiguous if they differ."""
    if all(equal):
        return Verdict(1.0, CORRECT, answers[-1])
    if any(equal) or not all(decide(answer, answers[-1]) for answer in answers[:-1]):
        return Verdict(0.0, AMBIGUOUS, " and ".join(answers))
    return Verdict(0.0, WRONG, answers[-1])
