import pytest

from benchmarks.answer_forms import EQUIVALENT, NEAR_MISS, written
from pipelines.rewards.answers.equality import decide

ANSWERS = [
    "18", "-3", "1500", r"\frac{3}{4}", r"-\frac{7}{3}", "3.25", r"45^\circ", "1, -2", "(1, 2)",
    r"(3, \infty)", r"2\sqrt{3}", r"\frac{2\sqrt{3}}{5}", "x + 3", r"\text{even}",
    r"(1, 2) \cup (3, 4)",
]  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_written_otherwise_is_equal(answer: str) -> None:
    found = dict(written(answer, EQUIVALENT))
    assert len(found) >= 4
    assert [text for text in found.values() if decide(text, answer) is not True] == []


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_near_miss_of_an_answer_is_wrong(answer: str) -> None:
    found = dict(written(answer, NEAR_MISS))
    assert found
    assert [text for text in found.values() if decide(text, answer) is not False] == []


def test_every_rule_applies_to_some_answer() -> None:
    more = [*ANSWERS, r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"]
    used = {
        rule
        for answer in more
        for rules in (EQUIVALENT, NEAR_MISS)
        for rule, _ in written(answer, rules)
    }
    assert {*EQUIVALENT, *NEAR_MISS} - used == set()
