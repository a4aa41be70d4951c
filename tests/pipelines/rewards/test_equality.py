import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rewards.equality import MAX_ANSWER, clean, decide
from pipelines.rewards.exact_numbers import read_quantity

EQUAL = [
    ("18", "18"),
    ("18.", "18"),
    ("18.0", "18"),
    ("+18", "18"),
    ("$18", "18"),
    ("\\$18.00", "18"),
    ("$18$", "18"),
    ("\\(18\\)", "18"),
    ("**18**", "18"),
    ("1,234", "1234"),
    ("1{,}234", "1234"),
    ("58,\\!500", "58500"),
    ("1,234,567.5", "1234567.50"),
    ("-3", "\u22123"),
    ("-\\frac{1}{2}", "-0.5"),
    ("\\frac{-1}{2}", "-1/2"),
    ("\\frac12", "0.5"),
    ("\\frac59", "\\dfrac{5}{9}"),
    ("\\tfrac{3}{6}", "1/2"),
    ("1\\frac{1}{2}", "3/2"),
    ("1 1/2", "1.5"),
    (".35625", "0.35625"),
    ("2.5 \\times 10^{3}", "2500"),
    ("1e3", "1000"),
    ("50\\%", "50"),
    ("50%", "0.5"),
    ("50 percent", "50%"),
    ("90^\\circ", "90"),
    ("90^{\\circ}", "90 degrees"),
    ("15 marbles", "15"),
    ("5 \\text{ cm}", "5"),
    ("5\\text{ centimeters}", "5 cm"),
    ("x = 5", "5"),
    ("5", "x=5"),
    ("2 + 3 = 5", "5"),
    ("f(x) = 2x", "2x"),
    ("\\text{(E)}", "E"),
    ("(E)", "E"),
    ("East", "\\text{east}"),
    ("\\left( 1, 2 \\right)", "(1,2)"),
    ("(1.0, 2)", "(1, 2)"),
    ("1, -1", "-1,1"),
    ("\\{2, 1\\}", "\\{1,2\\}"),
    ("x^2 + 1", "x^2+1"),
    ("\\sqrt3", "\\sqrt{3}"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
    ("\\text{(E)},", "E"),
    ("1\u200b8", "18"),
    ("9" * 5_000, "9" * 5_000),
]

DIFFERENT = [
    ("18", "19"),
    ("1/2", "0.05"),
    ("0.3333", "1/3"),
    ("0.333333", "\\frac{1}{3}"),
    ("15 + 3", "18"),
    ("3 \\cdot 6", "18"),
    ("(15+3)", "18"),
    ("1/0", "5"),
    ("18 hundred", "18"),
    ("5 million", "5"),
    ("5 \\text{ million}", "5"),
    ("15 or more", "15"),
    ("eighteen", "18"),
    ("x", "5"),
    ("there are 18", "18"),
    ("(1,2)", "[1,2]"),
    ("[1,2)", "(1,2]"),
    ("(2,1)", "(1,2)"),
    ("(1,2)", "(1,2,3)"),
    ("1,1", "1,2"),
    ("1,1,2", "1,2,2"),
    ("0.5", "50"),
    ("5%", "0.5"),
    ("50%", "50 degrees"),
    ("€6", "\\$6"),
    ("5 apples", "5 oranges"),
    ("5\\text{ cm}^2", "5\\text{ cm}^3"),
    ("E", "F"),
    ("a", "A"),
    ("east", "west"),
    ("7", "\\text{east}"),
    ("1 3/2", "5/3"),
    ("9" * 5_000, "9" * 4_999),
]

OPEN = [
    ("3\\pi", "3"),
    ("3 pi", "3"),
    ("5x", "5"),
    ("12,34", "1234"),
    ("\\sqrt{8}", "2\\sqrt{2}"),
    ("2^3", "8"),
    ("1,2", "(1,2)"),
    ("x=1", "1,-1"),
    ("(x+1)(x-1)", "x^2-1"),
]


@pytest.mark.parametrize(("answer", "reference"), EQUAL)
def test_two_spellings_of_one_answer_are_equal(answer: str, reference: str) -> None:
    assert decide(answer, reference) is True
    assert decide(reference, answer) is True


@pytest.mark.parametrize(("answer", "reference"), DIFFERENT)
def test_similar_answers_that_differ_are_wrong(answer: str, reference: str) -> None:
    assert decide(answer, reference) is False


@pytest.mark.parametrize(("answer", "reference"), OPEN)
def test_mathematics_is_left_open(answer: str, reference: str) -> None:
    assert decide(answer, reference) is None


def written(number: int) -> list[str]:
    return [
        str(number),
        f"{number:,}",
        f"{number}.0",
        f"${number}$",
        f"\\({number:,}\\)",
        f"{number}.",
        f" {number} ",
        f"x = {number}",
        f"\\frac{{{2 * number}}}{{2}}",
        f"{number}/1",
        f"{number} apples",
        f"\\${number}",
    ]


@given(st.integers(-(10**30), 10**30))
def test_an_integer_equals_itself_however_it_is_written_and_never_its_neighbor(n: int) -> None:
    for text in written(n):
        assert decide(text, str(n)) is True
        assert decide(text, str(n + 1)) is False
        assert decide(text, f"{n - 1:,}") is False


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_are_compared_exactly(a: Fraction, b: Fraction) -> None:
    text = f"\\frac{{{a.numerator}}}{{{a.denominator}}}"
    assert decide(text, f"{b.numerator}/{b.denominator}") is (a == b)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-1e9, max_value=1e9))
def test_a_decimal_is_read_exactly(number: object) -> None:
    quantity = read_quantity(f"{number:f}")
    assert quantity is not None
    assert quantity.value == Fraction(f"{number:f}")


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_texts_are_compared_without_an_exception(answer: str, reference: str) -> None:
    assert decide(answer, reference) in (True, False, None)
    assert clean(clean(answer)) is not None


@pytest.mark.parametrize(
    "hostile",
    [
        "1" + "()" * 900 + "!",
        "1" + "()1" * 600 + "!",
        "1" + "+-" * 900 + "x",
        "9" * (MAX_ANSWER - 1),
        "{" * (MAX_ANSWER - 1),
        "\\frac" * 380,
        "1," * 900 + "x",
        " " * 900 + "x" + " " * 900,
        "\\text{" * 300,
        "$" * 1_900,
        "=" * 1_900,
        "x=" * 900,
        "a " * 900,
        "1e9999",
        "1\\times 10^{9999}",
        "10^10^10^10^10",
        "9" * 10_000_000,
    ],
)
def test_hostile_answers_are_compared_quickly(hostile: str) -> None:
    start = time.perf_counter()
    assert decide(hostile, "18") is not True
    assert decide("18", hostile) is not True
    assert time.perf_counter() - start < 0.5
