from typing import Any

import pytest

from pipelines.config import RewardConfig
from pipelines.rewards.references import gold_solutions, own_answers
from pipelines.rewards.resolve import resolve_reward
from tests.failing_references import failing_references

SAME_TEXT = RewardConfig(function="python:tests.pipelines.rewards.sample_rewards:same_text")


def problem(reference: str, solution: str | None = None) -> dict[str, Any]:
    return {"problem_id": reference, "reference": reference, "solution": solution}


@pytest.mark.parametrize(
    ("form", "solution"), [("boxed", r"\boxed{1/2}"), ("answer_is", "The answer is 1/2.")]
)
def test_the_gold_solution_states_the_reference_in_the_first_form(form: str, solution: str) -> None:
    reward = resolve_reward(RewardConfig(options={"extract": [form]}))
    assert gold_solutions(reward, "1/2", []) == [solution]
    assert reward(solution, "1/2").verdict == "correct"


def test_a_users_reward_scores_the_human_solution_if_there_is_one() -> None:
    reward = resolve_reward(SAME_TEXT)
    assert gold_solutions(reward, "18", ["18"]) == ["18"]
    assert gold_solutions(reward, "18", []) == []
    assert failing_references(SAME_TEXT, [problem("18", "18")], 1) == []
    assert failing_references(SAME_TEXT, [problem("18", "seventeen")], 1) != []
    assert failing_references(SAME_TEXT, [problem("18", None)], 1) == []


def test_problems_that_no_solution_can_solve_are_found() -> None:
    good = [problem("18"), problem(r"\frac{1}{2}"), problem("(1, 2]"), problem(r"\text{east}")]
    bad = [problem(""), problem("} broken {"), problem(r"so \boxed{}")]
    assert failing_references(RewardConfig(), [*good, *bad], 1) == bad
    users = [problem("1", "1"), problem("1", "2"), problem("3")]
    assert failing_references(SAME_TEXT, users, 1) == [problem("1", "2")]


def test_human_solutions_are_tried_until_one_passes() -> None:
    asked = [
        ("1", ["2", "3", "1", "4"]),
        ("1", ["2", "3"]),
        ("1", ["1", "2"]),
        ("1", []),
    ]
    found = own_answers(SAME_TEXT, asked, 1)
    assert [answer.passed for answer in found] == ["1", None, "1", None]
    refused = "its own answer gets the verdict wrong"
    assert [answer.refused for answer in found] == [None, refused, None, None]


def test_tests_that_cannot_be_read_are_a_reason() -> None:
    (found,) = own_answers(RewardConfig(function="unit_tests"), [("no tests", ["print(1)"])], 1)
    assert found.refused == "its tests cannot be read"
