import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rewards.extraction import FORMS, MAX_SOLUTION, WRITTEN, extract

ALL = ("boxed", "hash", "answer_is")


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"We get $\boxed{42}$.", "42"),
        (r"First \boxed{1}, then \boxed{2}.", "2"),
        (r"$\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\text{no}}", r"\text{no}"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed{5} and then \boxed{6", "5"),
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
    assert extract(solution, ALL) == answer


@pytest.mark.parametrize(
    "solution",
    [
        "",
        "   \n ",
        "42",
        "There are 42 of them.",
        r"\boxed{}",
        r"\boxed{42",
        "####",
        "The answer is",
        "The answer is 15. Then Tom buys 3 more.",
        "The answer is 15.\nQuestion: Tom has 3",
        "My answer is 15",
    ],
)
def test_a_solution_that_states_no_answer_has_none(solution: str) -> None:
    assert extract(solution, ALL) is None


def test_the_order_of_forms_decides_between_several_answers() -> None:
    solution = "\\boxed{1}\n#### 2"
    assert extract(solution, ("boxed", "hash")) == "1"
    assert extract(solution, ("hash", "boxed")) == "2"
    assert extract(solution, ("answer_is",)) is None


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
    assert extract(f"7 apples\n{line}\n", ("last_line_number",)) == answer


@given(st.integers(), st.sampled_from(sorted(FORMS)), st.text(alphabet="ab \n.", max_size=40))
def test_an_answer_written_in_a_form_is_found_in_that_form(
    number: int, form: str, before: str
) -> None:
    assert extract(f"{before}\n{WRITTEN[form] % number}", (form,)) == str(number)


@given(st.text(max_size=300))
def test_any_text_is_looked_through_without_an_exception(text: str) -> None:
    for form in FORMS:
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
    ],
)
def test_hostile_text_is_looked_through_quickly(hostile: str) -> None:
    start = time.perf_counter()
    for form in FORMS:
        extract(hostile, (form,))
    assert time.perf_counter() - start < 2.0


def test_only_the_end_of_a_long_solution_is_read() -> None:
    assert extract(r"\boxed{1}" + " " * MAX_SOLUTION, ALL) is None
    assert extract("x" * MAX_SOLUTION + r"\boxed{1}", ALL) == "1"
