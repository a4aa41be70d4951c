from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from pipelines.config.load import load_config
from pipelines.datasets.story_problems import num_questions, story_problems
from pipelines.rewards.math_answer import math_answer

QUICKSTART = Path(__file__).parents[3] / "configs" / "quickstart.yaml"
STEP = re.compile(r"(\d+)\+(\d+)=(\d+)")


def normalized(question: str) -> str:
    return " ".join(question.lower().split())


@pytest.mark.parametrize("seed", range(3))
def test_questions_are_distinct_over_all_splits_white_space_and_case_aside(seed: int) -> None:
    problems = list(story_problems(700, 100, 200, seed=seed))
    assert len({normalized(problem["question"]) for problem in problems}) == 1000
    assert Counter(p["split"] for p in problems) == {"train": 700, "validation": 100, "test": 200}


def test_questions_stay_distinct_where_few_are_possible() -> None:
    room = num_questions(num_steps=1, max_number=2) // 2
    problems = list(story_problems(room, 0, 0, num_steps=1, max_number=2))
    assert len({problem["question"] for problem in problems}) == room == 360


def test_num_questions_counts_all_that_can_be_drawn() -> None:
    drawn = {
        problem["question"]
        for seed in range(60)
        for problem in story_problems(360, 0, 0, seed=seed, num_steps=1, max_number=2)
    }
    assert len(drawn) == num_questions(num_steps=1, max_number=2)


def test_a_seed_gives_the_same_problems_and_another_seed_others() -> None:
    first, again, other = (
        [problem["question"] for problem in story_problems(50, 5, 5, seed=seed)]
        for seed in (7, 7, 8)
    )
    assert first == again
    assert len(set(first) & set(other)) < 3


def test_more_training_problems_do_not_change_the_earlier_ones() -> None:
    few = list(story_problems(20, 0, 0, seed=3))
    many = list(story_problems(40, 0, 0, seed=3))
    assert many[:20] == few


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_every_step_of_a_solution_is_correct_and_the_last_gives_the_answer(num_steps: int) -> None:
    for problem in story_problems(200, 0, 0, num_steps=num_steps):
        steps = [STEP.fullmatch(step) for step in problem["solution"].split("; ")]
        numbers = [[int(text) for text in step.groups()] for step in steps if step]
        assert len(numbers) == num_steps
        assert all(a + b == c for a, b, c in numbers)
        assert [c for _, _, c in numbers][:-1] == [a for a, _, _ in numbers][1:]
        assert str(numbers[-1][2]) == problem["answer"]


def test_a_solution_uses_the_numbers_of_its_question_in_their_order() -> None:
    for problem in story_problems(200, 0, 0):
        asked = [int(text) for text in re.findall(r"\d+", problem["question"])]
        added = [int(second) for _, second, _ in STEP.findall(problem["solution"])]
        first = int(problem["solution"].split("+")[0])
        assert [first, *added] == asked
        assert sum(asked) == int(problem["answer"])


def test_the_question_is_about_the_last_of_different_people() -> None:
    for problem in story_problems(100, 0, 0):
        people = re.findall(r"(\w+) has \d", problem["question"])
        assert len(set(people)) == 3
        assert problem["question"].endswith(f"does {people[-1]} have?")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": -1}, "num_train must be >= 0, got -1"),
        ({"num_steps": 0}, "num_steps must be from 1 to 9, got 0"),
        ({"num_steps": 10}, "num_steps must be from 1 to 9, got 10"),
        ({"max_number": 1}, "max_number must be >= 2, got 1"),
        ({"num_train": 400, "num_steps": 1, "max_number": 2}, "must be <= 360 .*, got 400"),
    ],
)
def test_arguments_that_break_their_rule_are_refused(
    arguments: dict[str, int], message: str
) -> None:
    wanted = {"num_train": 1, "num_validation": 0, "num_test": 0, **arguments}
    with pytest.raises(ValueError, match=message):
        list(story_problems(**wanted))


def test_the_quickstarts_exemplars_are_never_among_its_problems() -> None:
    config = load_config(QUICKSTART)
    (source,) = config.problems.sources
    names = {
        name for e in config.prompt.exemplars for name in re.findall(r"(\w+) has", e["question"])
    }
    for seed in range(3):
        for problem in story_problems(seed=seed, **source.options):
            assert names.isdisjoint(re.findall(r"\w+", problem["question"]))


def test_the_quickstarts_reward_accepts_every_reference_solution_and_exemplar() -> None:
    config = load_config(QUICKSTART)
    (source,) = config.problems.sources
    reward = math_answer(**config.reward.options)
    for problem in story_problems(seed=0, **source.options):
        assert reward(problem["solution"], problem["answer"]).verdict == "correct"
    for exemplar in config.prompt.exemplars:
        numbers = re.findall(r"\d+", exemplar["question"])
        total = str(sum(int(number) for number in numbers))
        assert reward(exemplar["solution"], total).verdict == "correct"
        assert all(int(a) + int(b) == int(c) for a, b, c in STEP.findall(exemplar["solution"]))
