r"""Boxes that state an answer of several parts between them: 3 and then -4 for "3, -4"."""

from __future__ import annotations

import re

from pipelines.rewards.answers.brackets import split_members
from pipelines.rewards.answers.equality import clean, decide, is_number
from pipelines.rewards.answers.structures import LINK, PLUS_MINUS

_SET = re.compile(r"\\\{(.*)\\\}", re.DOTALL)


def together(answers: list[str], reference: str) -> list[str]:
    """The answers as one, if the reference has several parts and the answers state as many.

    That is a list of all answers, or the last one if it has all the parts and the others only repeat
    some of them. In every other case the answers are returned as they are.

    Args:
        answers: the contents of a solution's boxes, in order.
        reference: the correct answer.
    """
    number = len(parts(reference))
    if len(answers) < 2 or number < 2:
        return answers
    *before, last = [parts(answer) for answer in answers]
    if len(last) == number:
        earlier = [part for stated in before for part in stated]
        is_whole = all(any(decide(part, known) for known in last) for part in earlier)
        return answers[-1:] if is_whole else answers
    numbers = [len(stated) for stated in (*before, last)]
    if max(numbers) < number and sum(numbers) == number:
        return [", ".join(answers)]
    return answers


def parts(answer: str) -> list[str]:
    r"""The members of a list or set; one part if the answer is neither, and two for `\pm 3`."""
    text = clean(answer)
    inside = _SET.fullmatch(text)
    text = inside[1] if inside else text
    members = split_members(LINK.sub(",", text))
    if not members or is_number(text) or not all(members):
        return [text]
    return [PLUS_MINUS.sub(sign, part) for part in members for sign in _signs(part)]


def _signs(part: str) -> tuple[str, ...]:
    return ("+", "-") if PLUS_MINUS.search(part) else ("+",)
