"""What is graded by hand: a suite's problems, and the solutions that a policy wrote for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

from pipelines.errors import ConfigError
from pipelines.lake.answers import quoted
from schemas.prompts import GREEDY

_POINTS, _RUBRIC = "points", "rubric"
"""Fields of a problem's metadata: what it is worth, and how its points are given."""


class Reader(Protocol):
    """Answers SQL on a run's tables: `pipelines.lake.reader.LakeReader`."""

    def rows(self, query: str, run: str | None = None) -> list[dict[str, Any]]:
        """The answer to a query as Python values."""


@dataclass(frozen=True)
class Solution:
    """One solution, as a sample of the run."""

    sample_id: str
    policy_id: str
    text: str


@dataclass(frozen=True)
class Question:
    """A problem of the exam with the solutions to mark."""

    problem_id: str
    text: str
    rubric: str
    """How points are given, the reference where the problem set has no rubric; may be empty."""
    max_points: float
    solutions: tuple[Solution, ...] = ()

    def text_hash(self, solution: Solution) -> str:
        """Hash of what a grader is shown: problem, rubric, solution, points."""
        return text_hash(self.text, self.rubric, solution.text, self.max_points)


@dataclass(frozen=True)
class Exam:
    """The questions in the order of the problem set."""

    run: str
    iteration: int
    suite: str
    decoding: str
    questions: tuple[Question, ...] = field(repr=False)

    @property
    def num_solutions(self) -> int:
        """Solutions to mark."""
        return sum(len(question.solutions) for question in self.questions)

    @property
    def max_points(self) -> float:
        """Points of a perfect exam."""
        return sum(question.max_points for question in self.questions)


def text_hash(problem: str, rubric: str, solution: str, max_points: float) -> str:
    """Hash of the text of a row; ends of lines and of the text do not count.

    Spreadsheets change those when they save.
    """
    texts = ["\n".join(t.splitlines()).strip() for t in (problem, rubric, solution)]
    whole = json.dumps([*texts, float(max_points)])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def read_exam(
    reader: Reader,
    run: str,
    suite: str,
    iteration: int | None = None,
    decoding: str | None = None,
    default_points: float = 1.0,
) -> Exam:
    """A suite's problems with the solutions of one policy.

    Args:
        reader: the lake's reader.
        run: the run's name.
        suite: purpose of the samples: test, or a suite's name.
        iteration: whose policy's solutions; None: the last one that has any.
        decoding: how they were drawn; None: greedy, or the only way there is.
        default_points: worth of a problem whose metadata has no `points`.

    Raises:
        ConfigError: the run has no such samples.
    """
    iteration, decoding = _which(reader, run, suite, iteration, decoding)
    rows = reader.rows(
        "SELECT p.problem_id, p.question, p.reference, p.metadata, s.sample_id, s.policy_id, "
        "s.solution FROM samples s JOIN problems p ON p.problem_id = s.problem_id "
        f"WHERE s.purpose = {quoted(suite)} AND s.iteration = {iteration} "
        f"AND s.decoding = {quoted(decoding)} "
        "ORDER BY p.dataset, p.source_row, p.problem_id, s.index",
        run,
    )
    return Exam(run, iteration, suite, decoding, _questions(rows, default_points))


def _questions(rows: Iterable[dict[str, Any]], default_points: float) -> tuple[Question, ...]:
    questions = []
    for problem_id, group in groupby(rows, key=lambda row: str(row["problem_id"])):
        drawn = list(group)
        metadata = json.loads(drawn[0]["metadata"])
        solutions = tuple(Solution(d["sample_id"], d["policy_id"], d["solution"]) for d in drawn)
        rubric = str(metadata.get(_RUBRIC) or drawn[0]["reference"])
        points = _points(metadata.get(_POINTS), default_points, drawn[0]["question"])
        questions.append(Question(problem_id, drawn[0]["question"], rubric, points, solutions))
    return tuple(questions)


def _points(stated: Any, default: float, question: str) -> float:
    try:
        points = default if stated is None else float(stated)
    except (TypeError, ValueError):
        points = -1.0
    if not 0 < points < float("inf"):
        raise ConfigError(
            f"problem {question[:60]!r}: metadata field {_POINTS!r} must be a number > 0, got "
            f"{stated!r}; correct it in the problem set"
        )
    return points


def _which(
    reader: Reader, run: str, suite: str, iteration: int | None, decoding: str | None
) -> tuple[int, str]:
    """The iteration and the decoding whose samples are meant."""
    there = reader.rows(
        "SELECT DISTINCT purpose, iteration, decoding FROM samples ORDER BY 1, 2, 3", run
    )
    of_suite = [row for row in there if row["purpose"] == suite]
    if not of_suite:
        raise ConfigError(_none("--suite", suite, [row["purpose"] for row in there], "suites", run))
    iterations = [row["iteration"] for row in of_suite]
    chosen = max(iterations) if iteration is None else iteration
    if chosen not in iterations:
        raise ConfigError(_none("--iteration", chosen, iterations, "iterations", run))
    ways = [row["decoding"] for row in of_suite if row["iteration"] == chosen]
    if decoding is None and len(ways) > 1 and GREEDY not in ways:
        raise ConfigError(f"--decoding must be one of {', '.join(ways)}; name the one to mark")
    way = decoding or (GREEDY if GREEDY in ways else ways[0])
    if way not in ways:
        raise ConfigError(_none("--decoding", way, ways, "decodings", run))
    return chosen, way


def _none(option: str, value: object, there: Sequence[object], what: str, run: str) -> str:
    listed = ", ".join(str(item) for item in dict.fromkeys(there)) or "none yet"
    return f"{option}: run {run!r} has no samples of {value!r}; its {what} are: {listed}"
