"""Tables fit the terminal: headers are wrapped, text is cut, numbers are whole."""

from __future__ import annotations

import io

from jobs.show.console import console, table


def printed(rows: list[dict[str, object]], width: int, *right: str) -> list[str]:
    out = io.StringIO()
    screen = console(out)
    screen.width = width
    table(screen, rows, right=right)
    return out.getvalue().splitlines()


def test_text_is_aligned_left_and_numbers_right() -> None:
    rows: list[dict[str, object]] = [{"name": "a", "n": 5, "points": "7 %"}]
    assert printed(rows, 80, "points") == ["name  n  points", "a     5     7 %"]


def test_a_header_is_wrapped_before_text_is_cut() -> None:
    rows: list[dict[str, object]] = [{"all of it": "x" * 16, "number of rows": 1}]
    assert printed(rows, 24) == [
        "                  number",
        "                      of",
        "all of it           rows",
        "xxxxxxxxxxxxxxxx       1",
    ]


def test_the_longest_text_is_cut_and_numbers_never() -> None:
    rows: list[dict[str, object]] = [{"text": "x" * 30, "seed": 1234567890123456789}]
    assert printed(rows, 40) == [
        "text                                seed",
        "xxxxxxxxxxxxxxxxxx…  1234567890123456789",
    ]


def test_columns_move_together_before_a_table_becomes_records() -> None:
    rows: list[dict[str, object]] = [{"a": "1" * 9, "b": "2" * 9, "c": "3" * 9}]
    assert printed(rows, 31, "a", "b", "c")[1] == "111111111  222222222  333333333"
    assert printed(rows, 30, "a", "b", "c")[1] == "111111111 222222222 333333333"
    assert printed(rows, 28, "a", "b", "c") == [
        "row 1",
        "  a  111111111",
        "  b  222222222",
        "  c  333333333",
    ]


def test_a_table_in_a_file_is_not_wrapped() -> None:
    out = io.StringIO()
    table(console(out), [{str(n): "x" * 60 for n in range(10)}])
    assert len(out.getvalue().splitlines()) == 2
