from __future__ import annotations

import pytest

from pipelines.rewards.answers.echo import is_echo
from pipelines.rewards.math_answer import math_answer
from pipelines.rewards.verdict import Verdict


@pytest.mark.parametrize(
    ("answer", "reference", "question"),
    [
        ("(x+1)^2", "x^2+2x+1", "Expand $(x + 1)^2$."),
        (r"\left(x+1\right)^2", "x^2+2x+1", "Let $f(x) = (x+1)^2$. Expand $f(x)$."),
        ("y = (x+1)^2", "x^2+2x+1", "Write $(x+1)^2$ as a polynomial."),
        (r"\sqrt{288}", r"12\sqrt{2}", r"Simplify $\sqrt{288}$."),
        (r"\sqrt 8 + \sqrt2", r"3\sqrt{2}", r"What is $\sqrt{8}+\sqrt{2}$?"),
        (r"\frac38", "0.375", r"Write $\dfrac{3}{8}$ as a decimal."),
        ("36/54", r"\frac{2}{3}", r"Simplify $\frac{36}{54}$."),
        (r"0.\overline{73}", r"\frac{73}{99}", r"Which fraction equals $0.\overline{73}$?"),
    ],
)
def test_a_formula_of_the_question_is_an_echo(answer: str, reference: str, question: str) -> None:
    assert is_echo(answer, reference, question)


@pytest.mark.parametrize(
    ("answer", "reference", "question"),
    [
        # Spelled like the reference: the question offers its answer.
        (
            r"\frac{3}{10}",
            r"\dfrac{3}{10}",
            r"One is \frac{1}{10}, two is \frac{3}{10}. And three?",
        ),
        ("7/25", r"\frac{7}{25}", r"If $\sin RPQ = \frac{7}{25}$, what is $\sin RPS$?"),
        # Numbers recur.
        (r"20\%", "20", r"The radius shrinks by $20\%$. By how much does the height grow?"),
        (r"50^\circ", "50", r"The angle beside it has $50^\circ$. Find $x$."),
        ("x = -1", "-1", "Let $x = -1$. Find $x + x^2 + x^3$."),
        ("1024", "1,024", "Which is greater, $1024$ or $1000$?"),
        # Only part of another formula, or not in the question.
        ("x + 1", "1 + x", "Divide $2x + 1$ by 3 and $x + 12$ by 2."),
        ("(x+1)^2", "x^2+2x+1", "Expand $(x+2)^2$."),
    ],
)
def test_other_answers_are_not_echoes(answer: str, reference: str, question: str) -> None:
    assert not is_echo(answer, reference, question)


def test_reject_echo_changes_only_the_verdict_on_a_correct_echo() -> None:
    reward = math_answer()
    question = "Expand $(x+1)^2$."
    accepted = reward(r"\boxed{(x+1)^2}", "x^2+2x+1")
    assert accepted.verdict == "correct"
    rejected = reward.reject_echo(accepted, "x^2+2x+1", question)
    assert rejected == Verdict(0.0, "wrong", "(x+1)^2")
    good = reward(r"\boxed{x^2+2x+1}", "x^2+2x+1")
    assert reward.reject_echo(good, "x^2+2x+1", question) == good
    cut = Verdict(0.0, "truncated")
    assert reward.reject_echo(cut, "x^2+2x+1", question) == cut
