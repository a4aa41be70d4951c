"""The answers of a problem's samples as votes: answers that are equal are one vote.

Equal means what it means to the reward. Answers that it scored correct all equal the reference, so
they are one vote; the others are compared with one another by the reward's own equality. The work is
bounded: most answers are told apart by a key, and each of the others is compared with at most
MAX_COMPARED answers, those with the most votes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipelines.rewards.resolve import answer_reward

if TYPE_CHECKING:
    from pipelines.config import RewardConfig

MAX_COMPARED = 32


class Equality(Protocol):
    """When two answers are the same to a reward."""

    def answer_key(self, answer: str) -> Hashable:
        """A key that only equal answers share."""

    def same_answer(self, first: str, second: str) -> bool:
        """Whether two answers with different keys are equal all the same; bounded work."""


@dataclass(frozen=True)
class Answer:
    """An answer, the number of samples that gave it, and how many of them were scored correct."""

    text: str
    votes: int
    correct: int

    def __add__(self, other: Answer) -> Answer:
        return Answer(self.text, self.votes + other.votes, self.correct + other.correct)


def equality_of(config: RewardConfig) -> Equality | None:
    """The equality of a reward's answers; None if only their spelling can be compared."""
    return answer_reward(config)


def merged(answers: Sequence[Answer], equality: Equality | None) -> list[Answer]:
    """The answers with equal ones added up, in an order that does not depend on the one given."""
    ranked = sorted(answers, key=lambda answer: (-answer.votes, answer.text))
    if equality is None:
        return ranked
    by_key: dict[Hashable, Answer] = {}
    for answer in ranked:
        key = _CORRECT if answer.correct else ("wrong", equality.answer_key(answer.text))
        by_key[key] = by_key[key] + answer if key in by_key else answer
    distinct = [by_key.pop(_CORRECT)] if _CORRECT in by_key else []
    first_wrong = len(distinct)
    for answer in by_key.values():
        for place in range(first_wrong, min(len(distinct), first_wrong + MAX_COMPARED)):
            if equality.same_answer(answer.text, distinct[place].text):
                distinct[place] += answer
                break
        else:
            distinct.append(answer)
    return distinct


_CORRECT = "correct"
