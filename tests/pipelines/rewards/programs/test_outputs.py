from typing import Any

import pytest

from pipelines.rewards.programs.outputs import same_lines, same_tokens, same_value


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("1 2\n3\n", "1 2\n3"),
        ("  1   2  \n\n3\n\n", "1 2\r\n3\r\n"),
        ("0.333333333", "0.33333334"),
        ("2", "2.0"),
        ("1e-7", "0.0000001"),
        ("", "\n"),
    ],
)
def test_white_space_and_rounding_do_not_matter(printed: str, expected: str) -> None:
    assert same_lines(printed, expected)
    assert same_tokens(printed, expected)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("1\n2", "2\n1"),  # APPS's own checker compares sets and accepts this
        ("100000", "100001"),  # and this, as floats
        ("12", "1 2"),
        ("1", "1\n1"),
        ("0.33", "0.3333333"),
        ("007", "7"),
        ("nan", "0.5"),
        ("inf", "1e400"),
        ("YES!", "YES"),
        ("", "0"),
        ("1" * 500 + ".0", "1" * 500),
    ],
)
def test_different_output_is_wrong(printed: str, expected: str) -> None:
    assert not same_lines(printed, expected)
    assert not same_tokens(printed, expected)


def test_line_breaks_and_case_matter_for_apps_and_not_for_code_contests() -> None:
    for printed, expected in (("1\n2", "1 2"), ("yes", "YES"), ("True", "true")):
        assert not same_lines(printed, expected)
        assert same_tokens(printed, expected)


def test_the_tolerance_is_relative_for_apps_and_absolute_for_code_contests() -> None:
    assert same_lines("1000000.5", "1000000.0")
    assert not same_tokens("1000000.5", "1000000.0")


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (5, 5),
        (5, [5]),
        ([5], [5]),
        ((1, (2, 3)), [1, [2, 3]]),
        ([1, 2], [[1, 2]]),
        ({1: "a"}, {"1": "a"}),
        (True, [True]),
        (None, [None]),
    ],
)
def test_values_are_compared_as_json(returned: Any, expected: Any) -> None:
    assert same_value(returned, expected)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [(5, 6), (5, [5, 6]), ("5", 5), ([2, 1], [1, 2]), (None, False), ([], [[1]]), (1.0000001, 1)],
)
def test_different_values_are_wrong(returned: Any, expected: Any) -> None:
    assert not same_value(returned, expected)
