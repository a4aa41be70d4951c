"""Equal answers are one vote, by the reward's own equality."""

from __future__ import annotations

import random

import pytest

from pipelines.config import RewardConfig
from pipelines.rewards.votes import MAX_COMPARED, Answer, equality_of, merged

MATH = equality_of(RewardConfig())


def votes(*texts: str, correct: tuple[str, ...] = ()) -> list[list[int]]:
    """(votes, correct) of the merged answers of samples that answered these texts."""
    answers = [Answer(text, texts.count(text), 0) for text in dict.fromkeys(texts)]
    scored = [Answer(a.text, a.votes, a.votes * (a.text in correct)) for a in answers]
    return sorted([a.votes, a.correct] for a in merged(scored, MATH))


@pytest.mark.parametrize(
    "equal",
    [
        ("1/2", r"\frac12", "0.5", r"$\frac{1}{2}$"),
        ("x = 5", "5", "5."),
        ("2, 3", "3, 2", r"2 \text{ and } 3"),
        (r"x^2 + 1", "1+x^2"),
        ("(C)", "C"),
        (r"\$5", "5"),
    ],
)
def test_spellings_of_an_answer_are_one_vote(equal: tuple[str, ...]) -> None:
    assert votes(*equal, *equal) == [[2 * len(equal), 0]]


@pytest.mark.parametrize(
    "different", [("5", "6"), ("(1,2)", "[1,2]"), ("15 + 3", "18"), ("1, 234", "1,234")]
)
def test_answers_that_a_reward_tells_apart_are_several_votes(different: tuple[str, ...]) -> None:
    assert votes(*different) == [[1, 0]] * len(different)


def test_correct_answers_are_one_vote_though_only_a_worker_can_see_it() -> None:
    found = votes("b + a + c", "a + c + b", "7", "7", correct=("b + a + c", "a + c + b"))
    assert found == [[2, 0], [2, 2]]


def test_the_votes_do_not_depend_on_the_order_of_the_answers() -> None:
    answers = [Answer(text, 1, 0) for text in ("5", r"5 \text{ cm}", r"5 \text{ m}", "1/5", "0.2")]
    expected = merged(answers, MATH)
    for seed in range(10):
        random.Random(seed).shuffle(answers)
        assert merged(answers, MATH) == expected


def test_a_reward_with_options_of_its_own_has_its_own_equality() -> None:
    answers = [Answer("Yes", 1, 0), Answer("yes", 1, 0)]
    strict = RewardConfig(function="exact_match")
    lenient = RewardConfig(function="exact_match", options={"ignore_case": True})
    assert len(merged(answers, equality_of(strict))) == 2
    assert len(merged(answers, equality_of(lenient))) == 1
    assert equality_of(RewardConfig(function="unit_tests")) is None


def test_an_answer_is_compared_with_a_bounded_number_of_others() -> None:
    compared = 0

    class Counting:
        def answer_key(self, answer: str) -> str:
            return answer

        def same_answer(self, first: str, second: str) -> bool:
            nonlocal compared
            compared += 1
            return False

    answers = [Answer(str(number), 1, 0) for number in range(200)]
    assert len(merged(answers, Counting())) == 200
    assert compared <= 200 * MAX_COMPARED
