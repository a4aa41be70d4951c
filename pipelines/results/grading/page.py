"""The exam as an HTML page: to read, to mark in the browser, or to print and mark on paper.

One file that loads nothing from the network. Marks stay in the browser until they are saved as the
same CSV that `write_sheet` writes. Formulas are shown as their LaTeX source.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from string import Template

from pipelines.results.embedded import embedded
from pipelines.results.grading.exam import Exam, ExamQuestion, Solution
from pipelines.results.grading.sheet import COLUMNS, sheet_rows

_TEMPLATE = Path(__file__).with_name("page.html")

_FORMULA = re.compile(
    r"(?<!\\)\$\$.+?(?<!\\)\$\$|(?<!\\)\$[^$\n]+?(?<!\\)\$|\\\[.+?\\\]|\\\(.+?\\\)", re.DOTALL
)
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that a page does not show, or that change the direction of others."""


def write_page(exam: Exam, path: Path) -> None:
    """Write the exam's page."""
    path.write_text(page(exam), encoding="utf-8")


def page(exam: Exam) -> str:
    """The exam as HTML."""
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    title = f"{exam.suite} · {exam.run} · iteration {exam.iteration}"
    count = f"{len(exam.questions)} problems"
    if exam.num_solutions > len(exam.questions):
        count += f", {exam.num_solutions} solutions"
    return template.substitute(
        title=escape(title),
        suite=escape(exam.suite),
        about=escape(f"run {exam.run}, iteration {exam.iteration}, {exam.decoding} samples"),
        count=count,
        max_points=f"{sum(q.max_points * len(q.solutions) for q in exam.questions):g}",
        questions="\n".join(_question(n, q) for n, q in enumerate(exam.questions, 1)),
        data=embedded(
            {
                "file": f"{exam.suite}-{exam.iteration}-marks.csv",
                "key": f"{exam.run}/{exam.suite}/{exam.iteration}/{exam.decoding}",
                "columns": COLUMNS,
                "rows": sheet_rows(exam),
            }
        ),
    )


def _question(number: int, question: ExamQuestion) -> str:
    rubric = (
        f'<h3>Rubric</h3><div class="text rubric">{_text(question.rubric)}</div>'
        if question.rubric.strip()
        else ""
    )
    several = len(question.solutions) > 1
    solutions = "".join(
        _solution(solution, f"{number}.{nth}" if several else "", question.max_points)
        for nth, solution in enumerate(question.solutions, 1)
    )
    points = f"{question.max_points:g} point{'s' * (question.max_points != 1)}"
    return (
        f'<section><h2><span class="number">{number}</span> Problem '
        f'<span class="points">{points}</span></h2>'
        f'<div class="text problem">{_text(question.text)}</div>{rubric}{solutions}</section>'
    )


def _solution(solution: Solution, number: str, max_points: float) -> str:
    name = escape(solution.sample_id, quote=True)
    label = f"Solution {number}".strip()
    return (
        f'<article><h3>{label}</h3><div class="text solution">{_text(solution.text)}</div>'
        f'<div class="marking"><label>Mark <input class="mark" type="number" min="0" '
        f'max="{max_points:g}" step="any" data-sample="{name}" aria-label="{label}: mark"></label>'
        f'<span class="of">of {max_points:g}</span>'
        f'<label class="comment">Comment <textarea rows="1" data-sample="{name}"></textarea>'
        f"</label></div></article>"
    )


def _text(text: str) -> str:
    """A text as HTML, with its formulas marked and invisible characters shown as their codes."""
    if not text.strip():
        return '<span class="empty">(empty)</span>'
    pieces, end = [], 0
    text = text.strip()
    for formula in _FORMULA.finditer(text):
        pieces.append(_visible(text[end : formula.start()]))
        pieces.append(f"<code>{_visible(formula[0])}</code>")
        end = formula.end()
    return "".join([*pieces, _visible(text[end:])])


def _visible(text: str) -> str:
    def named(found: re.Match[str]) -> str:
        return f'<span class="odd">U+{ord(found[0]):04X}</span>'

    return _INVISIBLE.sub(named, escape(text, quote=False))
