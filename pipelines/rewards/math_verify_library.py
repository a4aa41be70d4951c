r"""`math_verify`: the library math-verify as its users call it, for figures like theirs.

`verify(parse(reference), parse(solution))` with the library's defaults: it looks for the answer in the
whole solution, in boxes or else in its last expressions, and accepts answers that are not worked out.
Only its timeouts are off: they are alarms, which the worker's deadline replaces.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from pipelines.rewards.math_answer import reference_answer
from pipelines.rewards.verdict import Verdict
from schemas.rewards import CORRECT, ERROR, NO_ANSWER, WRONG

VERSION = "1"
"""Raise it with every change that can change a verdict: verdicts are stored under it."""


@dataclass(frozen=True)
class MathVerify:
    """math-verify's judgement: 1 or 0. It may hang, so it is called in a worker only."""

    def __call__(self, solution: str, reference: str) -> Verdict:
        """The verdict, without a deadline."""
        from math_verify import verify

        wanted = reference_answer(reference)
        if not wanted:
            return Verdict(0.0, ERROR, detail="the reference is empty")
        given = _parsed(solution)
        if not given:
            return Verdict(0.0, NO_ANSWER)
        equal = verify(_parsed(rf"\boxed{{{wanted}}}"), given, timeout_seconds=None)
        return Verdict(float(equal), CORRECT if equal else WRONG, str(given[-1]))

    def gold_solution(self, reference: str) -> str:
        """The shortest solution that states the reference: its verdict must be `correct`."""
        return rf"\boxed{{{reference_answer(reference)}}}"

    def answer_key(self, answer: str) -> str:
        """The text that was extracted."""
        return "".join(answer.split())

    def same_answer(self, first: str, second: str) -> bool:
        """Whether answers with different keys are equal: to ask the library may take for ever."""
        return False

    def warm_up(self) -> None:
        """Load the library's parser, so that no sample's deadline includes it."""
        # It warns of every comparison without its own timeouts.
        logging.getLogger("math_verify").setLevel(logging.CRITICAL)
        self(r"\boxed{\frac{\sqrt{4}}{x}}", "2/x")


def math_verify() -> MathVerify:
    """The reward for `reward.options`: it has none."""
    return MathVerify()


def _parsed(text: str) -> list[Any]:
    from math_verify import parse

    return list(parse(text, parsing_timeout=None))
