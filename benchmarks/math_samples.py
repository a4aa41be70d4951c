"""Synthetic samples for MATH, made from its human solutions to resemble a model's.

Each problem has its own share of correct samples. A correct one is the human solution with another
opening and some sentences left out, so that long solutions are hardly ever equal and short ones
sometimes are; its answer is in the original or another spelling. A wrong one ends in one of a few
recurring answers, as a model's do: the answer of another problem of the subject, or a near miss.
Some are cut off, and some state no answer.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.math_problems import Problem, math_split

_SHARE_CUT, _SHARE_SILENT, _SHARE_RESPELLED = 0.04, 0.03, 0.15
_SHARE_LEFT_OUT = 0.15
"""Share of the sentences before the answer's."""
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
"""Distinct wrong answers per problem, the most frequent first."""


@dataclass(frozen=True)
class Sample:
    """A solution of problem number `problem`."""

    problem: int
    index: int
    solution: str
    finish_reason: str


def read_math(path: Path, limit: int) -> list[Problem]:
    """Those of the first `limit` problems of a split of MATH that have an answer."""
    return [problem for problem in math_split(path)[:limit] if problem.answer]


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
                respelled = rng.random() < _SHARE_RESPELLED
                answer = _respelled(problem.answer) if respelled else problem.answer
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


def _respelled(answer: str) -> str:
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
