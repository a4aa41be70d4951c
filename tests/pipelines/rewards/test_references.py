from typing import Any

from pipelines.config import RewardConfig
from pipelines.rewards.references import gold_solution, reference_passes, verify_references
from pipelines.rewards.resolve import resolve_reward

SAME_TEXT = RewardConfig(function="python:tests.pipelines.rewards.sample_rewards:same_text")


def problem(reference: str, solution: str | None = None) -> dict[str, Any]:
    return {"problem_id": reference, "reference": reference, "solution": solution}


def test_a_reference_is_stated_in_the_first_form_that_is_asked_for() -> None:
    for form, solution in (("boxed", r"\boxed{1/2}"), ("answer_is", "The answer is 1/2.")):
        reward = resolve_reward(RewardConfig(options={"extract": [form]}))
        assert gold_solution(reward, "1/2", None) == solution
        assert reference_passes(reward, "1/2", None) is True


def test_a_users_reward_is_tried_on_the_human_solution_where_there_is_one() -> None:
    reward = resolve_reward(SAME_TEXT)
    assert reference_passes(reward, "18", "18") is True
    assert reference_passes(reward, "18", "seventeen") is False
    assert reference_passes(reward, "18", None) is None


def test_the_problems_that_cannot_be_solved_are_found() -> None:
    good = [problem("18"), problem(r"\frac{1}{2}"), problem("(1, 2]"), problem(r"\text{east}")]
    bad = [problem(""), problem("} broken {"), problem(r"so \boxed{}")]
    assert verify_references(RewardConfig(), [*good, *bad]) == bad
    assert verify_references(SAME_TEXT, [problem("1", "1"), problem("1", "2"), problem("3")]) == [
        problem("1", "2")
    ]
