import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rewards.answers.extraction import MATH_FORMS, MAX_SOLUTION, Cut, extract

ALL = ("boxed", "hash", "answer_is")


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"We get $\boxed{42}$.", "42"),
        (r"First \boxed{2}, again \boxed{2}.", "2"),
        (r"$\boxed{\phantom{2}} + 3 = 5$, so it is \boxed{2}.", "2"),
        (r"$\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\text{no}}", r"\text{no}"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed{5} and then \boxed{6", "5"),
        ("**Final Answer:** 15", "15"),
        (r"\boxed 2", "2"),
        (r"\fbox{9}", "9"),
        ("She sells 9 for $18.\n#### 18", "18"),
        ("#### 1\n#### 1,234", "1,234"),
        ("12 + 7 = 19; 19 - 4 = 15. The answer is 15.", "15"),
        ("So the answer is: 15", "15"),
        (
            "Final Answer: The final answer is $\\frac{1}{2}$. I hope it is correct.",
            "$\\frac{1}{2}$",
        ),
        ("The answer is 3.5.", "3.5"),
        ("THE ANSWER IS 8", "8"),
        ("The answer is $18.\n\n", "$18"),
    ],
)
def test_the_final_answer_is_found(solution: str, answer: str) -> None:
    assert extract(solution, ALL) == [answer]


def test_boxes_that_are_spelled_differently_are_all_found_with_the_last_one_last() -> None:
    assert extract(r"\boxed{1} or \boxed{2} or \boxed{1}", ALL) == ["2", "1"]
    assert extract(r"\boxed{\frac{1}{2}} = \boxed{\boxed{0.5}}", ALL) == [r"\frac{1}{2}", "0.5"]


@pytest.mark.parametrize(
    "solution",
    [r"\boxed{42", r"so it is $\boxed{\frac{1}{2}$.", r"The answer is \boxed{4", r"\boxed{"],
)
def test_a_box_that_is_never_closed_is_cut(solution: str) -> None:
    with pytest.raises(Cut):
        extract(solution, ALL)


def test_a_preferred_form_is_found_before_a_cut_box() -> None:
    assert extract("#### 42\n\\boxed{4", ("hash", "boxed")) == ["42"]


@pytest.mark.parametrize(
    "solution",
    [
        "",
        "   \n ",
        "42",
        "There are 42 of them.",
        r"\boxed{}",
        "####",
        "The answer is",
        "The answer is 15. Then Tom buys 3 more.",
        "The answer is 15.\nQuestion: Tom has 3",
        "My answer is 15",
    ],
)
def test_a_solution_that_states_no_answer_has_none(solution: str) -> None:
    assert extract(solution, ALL) == []


def test_the_order_of_forms_decides_between_several_answers() -> None:
    solution = "\\boxed{1}\n#### 2"
    assert extract(solution, ("boxed", "hash")) == ["1"]
    assert extract(solution, ("hash", "boxed")) == ["2"]
    assert extract(solution, ("answer_is",)) == []


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("12 + 7 = 19", "19"),
        ("so 1,234 apples", "1,234"),
        ("it is -4.5", "-4.5"),
        ("x=3/4", "3/4"),
        ("50%", "50%"),
        ("none", None),
        ("about $18.", "$18"),
    ],
)
def test_the_last_number_of_the_last_line(line: str, answer: str | None) -> None:
    found = extract(f"7 apples\n{line}\n", ("last_line_number",))
    assert found == ([] if answer is None else [answer])


def test_the_last_line_is_the_answer_if_that_form_is_configured() -> None:
    assert extract("We think.\n(B)\n\n", ("last_line",)) == ["(B)"]
    assert extract(" \n", ("last_line",)) == []


def test_minervas_form_is_found_on_any_line() -> None:
    stated = "Final Answer: The final answer is ${}$. I hope it is correct."
    text = f"{stated.format(1)}\n\n{stated.format('x^2')}\n\nProblem:\nFind the answer"
    assert extract(text, ("minerva",)) == ["$x^2$"]
    assert extract("The final answer is 3.", ("minerva",)) == []
    assert extract(text, ("answer_is",)) == []


@given(st.integers(), st.sampled_from(sorted(MATH_FORMS)), st.text(alphabet="ab \n.", max_size=40))
def test_an_answer_stated_in_a_form_is_found_in_that_form(
    number: int, form: str, before: str
) -> None:
    (found,) = extract(f"{before}\n{MATH_FORMS[form].state(str(number))}", (form,))
    assert found.strip("$") == str(number)


@given(st.text(max_size=300))
def test_any_text_is_searched_without_an_exception(text: str) -> None:
    for form in MATH_FORMS:
        with contextlib.suppress(Cut):
            extract(text, (form,))


@pytest.mark.parametrize(
    "hostile",
    [
        r"\boxed{" * 10_000,
        r"\boxed{" * 10_000 + "}" * 10_000,
        "{" * 50_000,
        "9" * 1_000_000,
        "#" * 100_000,
        "the answer is " * 10_000,
        "the" + " " * 60_000 + "answer is 4",
        " \t" * 30_000 + "x",
        "1," * 50_000 + "x",
        "-" * 50_000,
        "\x00" * 50_000,
        "\\boxed" + " " * 60_000,
        "Final Answer: The final answer is" * 1_500,
        ("Final Answer: The final answer is" + " " * 1_000) * 50,
        "answer" + "*" * 50_000,
    ],
)
def test_hostile_text_is_searched_quickly(hostile: str) -> None:
    start = time.process_time()
    for form in MATH_FORMS:
        with contextlib.suppress(Cut):
            extract(hostile, (form,))
    assert time.process_time() - start < 2.0


def test_only_the_end_of_a_long_solution_is_read() -> None:
    assert extract(r"\boxed{1}" + " " * MAX_SOLUTION, ALL) == []
    assert extract("x" * MAX_SOLUTION + r"\boxed{1}", ALL) == ["1"]
