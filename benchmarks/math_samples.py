"""Samples as a model would draw them for MATH, made from the data set's own solutions.

For each problem some samples are right and some wrong, in a share of the problem's own. A right one
is the reference solution with another opening and some sentences left out, so that long solutions
are hardly ever equal and short ones are now and then; its answer is written as it is or in another
way. A wrong one ends in one of a few answers that keep coming back, as a model's do: another
problem's answer of the same subject, or a near miss of the right one. Some are cut off, and some
state no answer.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.rewards.answers.extraction import boxed

_SHARE_CUT, _SHARE_SILENT, _SHARE_REWRITTEN = 0.04, 0.03, 0.15
_SHARE_LEFT_OUT = 0.15
"""Of the sentences before the answer's."""
_OPENINGS = (
    "",
    "First, note the following. ",
    "Let's think step by step. ",
    "We start from what is given. ",
    "We solve this in a few steps. ",
    "To begin with, ",
    "Let us see. ",
    "Here is one way to do it. ",
)
_NUM_WRONG = 6
"""Different wrong answers of a problem; the first comes back most."""


@dataclass(frozen=True)
class Problem:
    """A problem of MATH."""

    question: str
    subject: str
    solution: str
    answer: str


@dataclass(frozen=True)
class Sample:
    """A solution of problem number `problem`."""

    problem: int
    index: int
    solution: str
    finish_reason: str


def read_math(path: Path, limit: int) -> list[Problem]:
    """The first problems of a JSONL file (or .gz) of `problem`, `type` and `solution`."""
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    rows = [json.loads(line) for line in text.splitlines()[:limit]]
    return [
        Problem(row["problem"], row["type"], row["solution"], answer)
        for row in rows
        if (answer := (boxed(row["solution"]) or "").strip())
    ]


def draw(problems: list[Problem], num_samples: int, seed: int) -> Iterator[Sample]:
    """`num_samples` solutions of each problem."""
    rng = random.Random(seed)
    answers: dict[str, list[str]] = {}
    for problem in problems:
        answers.setdefault(problem.subject, []).append(problem.answer)
    for number, problem in enumerate(problems):
        share, wrong = rng.betavariate(0.8, 1.2), _wrong_answers(problem, answers, rng)
        for index in range(num_samples):
            answer = wrong[min(int(rng.expovariate(0.7)), _NUM_WRONG - 1)]
            if rng.random() < share:
                rewritten = rng.random() < _SHARE_REWRITTEN
                answer = _rewritten(problem.answer) if rewritten else problem.answer
            text, finish_reason = _worded(problem, answer, rng)
            yield Sample(number, index, text, finish_reason)


def _wrong_answers(
    problem: Problem, answers: dict[str, list[str]], rng: random.Random
) -> list[str]:
    others = rng.choices(answers[problem.subject], k=_NUM_WRONG)
    is_number = problem.answer[:1].isdigit() or problem.answer.startswith(r"\frac")
    near = [_one_more(problem.answer), f"-{problem.answer}" if is_number else "1"]
    mixed = [near[0], others[0], near[1], *others[1:]]
    return [other for other in mixed if other != problem.answer] + ["0"] * _NUM_WRONG


def _one_more(answer: str) -> str:
    return re.sub(r"\d+", lambda found: str(int(found[0]) + 1), answer, count=1)


def _rewritten(answer: str) -> str:
    """The same answer in another writing."""
    if r"\frac" in answer:
        return answer.replace(r"\frac", r"\dfrac")
    return answer.replace(",", ", ") if "," in answer else f" {answer} "


def _worded(problem: Problem, answer: str, rng: random.Random) -> tuple[str, str]:
    given = rf"\boxed{{{problem.answer}}}"
    text = problem.solution.replace(given, rf"\boxed{{{answer}}}")
    if given not in problem.solution:
        text = rf"{text.replace('boxed', 'text')} The answer is \boxed{{{answer}}}."
    *before, last = text.split(". ")
    kept = [sentence for sentence in before if rng.random() >= _SHARE_LEFT_OUT]
    text = rng.choice(_OPENINGS) + ". ".join([*kept, last])
    chance = rng.random()
    if chance < _SHARE_CUT:
        return text[: int(len(text) * rng.uniform(0.3, 0.9))], "length"
    if chance < _SHARE_CUT + _SHARE_SILENT:
        return text.partition(r"\boxed")[0], "stop"
    return text, "stop"
