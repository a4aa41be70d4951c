"""The page that graders read: nothing is fetched, nothing a model wrote is executed or hidden."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.results.grading.exam import Exam, ExamQuestion, Solution
from pipelines.results.grading.page import page, write_page
from pipelines.results.grading.sheet import guarded, read_sheet, sheet_rows, unguarded, write_sheet
from tests.seen_page import Seen

HOSTILE = (
    "</script><script>alert(1)</script> <img src=x onerror=alert(1)> &amp; \u202eevil\x00 "
    '"quoted" $title ${suite}'
)


def exam(*solutions: str, rubric: str = "", problem: str = "What is $1 < 2$?") -> Exam:
    drawn = tuple(Solution(f"sample-{n}", "policy", text) for n, text in enumerate(solutions))
    return Exam("run", 1, "exam", "greedy", (ExamQuestion("p", problem, rubric, 2.5, drawn),))


def seen(made: Exam) -> Seen:
    parser = Seen()
    parser.feed(page(made))
    return parser


def embedded(made: Exam) -> Any:
    found = re.search(r'<script type="application/json" id="exam">(.*?)</script>', page(made), re.S)
    assert found is not None
    return json.loads(found[1])


def test_the_page_names_no_address_and_loads_nothing() -> None:
    made = seen(exam("4"))
    assert not [
        name for _, attributes in made.tags for name in attributes if name in ("src", "href")
    ]
    assert "url(" not in page(exam("4"))
    assert "@import" not in page(exam("4"))


def test_what_a_model_wrote_is_shown_and_never_executed() -> None:
    made = seen(exam(HOSTILE, rubric=HOSTILE, problem=HOSTILE))
    tags = [tag for tag, _ in made.tags]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert made.text.count("<script>alert(1)</script>") == 3
    assert made.text.count("U+202E") == 3
    assert made.text.count("U+0000") == 3
    assert embedded(exam(HOSTILE))["rows"][0]["solution"] == HOSTILE


def test_formulas_are_marked_and_prices_are_not() -> None:
    text = r"Let $x_1 < 2$ and \[\frac{1}{2}\]. It costs \$5." + "\nThen $$a$$ of \\(b\\), $7 more"
    source = page(exam(text))
    codes = re.findall(r"<code>(.*?)</code>", source)
    assert codes[1:] == ["$x_1 &lt; 2$", r"\[\frac{1}{2}\]", "$$a$$", r"\(b\)"]


def test_every_solution_has_a_mark_field_with_its_range() -> None:
    fields = [a for tag, a in seen(exam("3", "4")).tags if tag == "input" and "data-sample" in a]
    assert [(a["data-sample"], a["min"], a["max"]) for a in fields] == [
        ("sample-0", "0", "2.5"),
        ("sample-1", "0", "2.5"),
    ]


def test_a_page_holds_the_rows_of_the_sheet() -> None:
    made = exam("3", "4")
    assert embedded(made)["rows"] == sheet_rows(made)
    assert [row["number"] for row in sheet_rows(made)] == ["1.1", "1.2"]


def test_an_empty_solution_is_shown_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "exam.html"
    write_page(exam(" \n"), path)
    assert "(empty)" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\tx", "'=1", "''=1", "'x", "", "x", "\r=1"]
)
def test_no_cell_is_a_formula_and_every_cell_comes_back(text: str) -> None:
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert unguarded(guarded(text)) == text
    assert unguarded(text) == text or text.startswith("'")


@pytest.mark.parametrize(
    "text",
    [HOSTILE, "=cmd()", "a,b;c\td", 'a "b"\nc', "\u00fc \U0001f600", "x" * 200_000, "a\r\nb\rc"],
)
def test_a_solution_comes_back_from_the_sheet_as_it_was(tmp_path: Path, text: str) -> None:
    path = tmp_path / "exam.csv"
    write_sheet(exam(text), path)
    (row,) = read_sheet(path)
    assert row.cells["solution"] == text
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert next(csv.reader(file))[5] == "mark"
