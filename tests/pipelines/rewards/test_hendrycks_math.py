r"""The MATH benchmark's check, by the examples that were published with it."""

from __future__ import annotations

import pytest

from benchmarks.math_problems import math_500
from pipelines.errors import ConfigError
from pipelines.rewards.hendrycks_math import (
    HendrycksMath,
    hendrycks_math,
    is_equivalent,
    last_boxed,
    normal_form,
)
from pipelines.rewards.math_answer import MathAnswer
from tests.real_data import needs_real_data

# The pairs of the benchmark's own unit tests (github.com/hendrycks/math, math_equivalence_test.py).
PUBLISHED = [
    (r"\tfrac{1}{2} + \frac1{72}", r"\\frac{1}{2} + 2/3", False),
    ("10, 4, -2", "4, 10, -2", False),
    ("10, 4, 2", "4, 12, 2", False),
    (r"\tfrac{1}{2} +\! \frac1{72}", r"\\dfrac{1}{2} +\frac{1}{72}", True),
    (r"10\text{ units}", "10 ", True),
    (r"10\text{ units}", "100 ", False),
    ("10", r"\$10", True),
    (r"\left(x-2\right)\left(x+2\right)", "(x-2)(x+2)", True),
    ("0.1, 4, 2", "4, .1, 2", False),
    ("0.1", ".1", True),
    (r"10\%", "10", True),
    (r"10\sqrt{3} + \sqrt4", r"10\sqrt3 + \sqrt{4}", True),
    (r"\frac34i", r"\frac{3}{4}i", True),
    (r"\tfrac83", r"\frac{8}{3}", True),
    ("5x - 7y + 11z + 4 = 0", "x + y - z + 2 = 0", False),
    ("1/2", r"\frac{1}{2}", True),
]


@pytest.mark.parametrize(("first", "second", "equal"), PUBLISHED)
def test_the_benchmark_s_own_examples(first: str, second: str, equal: bool) -> None:
    assert is_equivalent(first, second) is equal


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("k = 5", "5"),
        ("xy = 5", "xy=5"),
        ("x = y = 5", "x=y=5"),
        ("0.5", r"\frac{1}{2}"),
        ("0.25", "0.25"),
        ("90^\\circ", "90"),
        ("03/4", "03/4"),
        ("-3/4", r"\frac{-3}{4}"),
        ("3/4/5", "3/4/5"),
        (r"\frac1", r"\frac1"),
        (r"\frac1b+\frac1", r"\frac1b+\frac1"),
        ("(1, 2)", "(1,2)"),
        ("", ""),
    ],
)
def test_the_rules_and_where_they_end(text: str, form: str) -> None:
    assert normal_form(text) == form


@pytest.mark.parametrize("text", [r"2\sqrt", r"\frac", r"2\text{ a}\text{ b}"])
def test_a_text_that_the_rules_do_not_cover_is_compared_as_it_is(text: str) -> None:
    assert is_equivalent(text, text)
    assert not is_equivalent(text, text + " ")


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2", None),
        (r"so $\boxed 5$ it is", "5"),
        (r"\fbox{5}", None),
        ("5", None),
    ],
)
def test_the_answer_is_the_last_box(solution: str, answer: str | None) -> None:
    assert last_boxed(solution) == answer


def test_verdicts_differ_from_the_training_reward_where_the_benchmark_does() -> None:
    ours, theirs = MathAnswer(), HendrycksMath()
    for solution, reference, verdicts in (
        (r"\boxed{0.25}", r"\frac14", ("correct", "wrong")),
        (r"\boxed{4, 1}", "1, 4", ("correct", "wrong")),
        (r"\boxed{3} or \boxed{4}", "4", ("ambiguous", "correct")),
        (r"\boxed{\frac14}", r"\dfrac{1}{4}", ("correct", "correct")),
        ("It is 4", "4", ("no_answer", "no_answer")),
    ):
        found = tuple(reward(solution, reference).verdict for reward in (ours, theirs))
        assert found == verdicts, solution


def test_other_forms_of_the_answer_can_be_asked_for() -> None:
    minerva = hendrycks_math(extract=["boxed", "minerva"])
    solution = "Final Answer: The final answer is $\\frac12$. I hope it is correct."
    assert minerva(solution, "1/2").verdict == "correct"
    assert HendrycksMath()(solution, "1/2").verdict == "no_answer"
    assert minerva(r"\boxed{\frac12}", "1/2").verdict == "correct"
    with pytest.raises(ConfigError, match="extract must be a list"):
        hendrycks_math(extract="boxed")


@needs_real_data
def test_every_math_500_solution_passes_against_its_own_answer() -> None:
    problems = math_500()
    assert len(problems) == 500
    assert all(HendrycksMath()(p.solution, p.answer).verdict == "correct" for p in problems)
