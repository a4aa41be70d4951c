"""An exam that people grade: the problems of a suite, and a policy's solutions of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from pipelines.errors import ConfigError
from pipelines.lake.sql_text import sql_literal
from schemas.prompts import GREEDY

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader

_POINTS, _RUBRIC = "points", "rubric"
"""Fields of a problem's metadata: its maximum, and how its points are given."""


@dataclass(frozen=True)
class Solution:
    """One solution, as a sample of the run."""

    sample_id: str
    policy_id: str
    text: str


@dataclass(frozen=True)
class ExamQuestion:
    """A problem of the exam with the solutions to mark."""

    problem_id: str
    text: str
    rubric: str
    """How points are given; the reference if the problem has no rubric; may be empty."""
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
    questions: tuple[ExamQuestion, ...] = field(repr=False)

    @property
    def num_solutions(self) -> int:
        """Number of solutions to mark."""
        return sum(len(question.solutions) for question in self.questions)

    @property
    def max_points(self) -> float:
        """Points of a perfect exam."""
        return sum(question.max_points for question in self.questions)


def text_hash(problem: str, rubric: str, solution: str, max_points: float) -> str:
    """Hash of the texts and the maximum of a row, whatever its line ends and outer white space.

    Spreadsheets change those when they save.
    """
    texts = ["\n".join(t.splitlines()).strip() for t in (problem, rubric, solution)]
    whole = json.dumps([*texts, float(max_points)])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def read_exam(
    reader: LakeReader,
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
        iteration: that of the policy; None: the last one with solutions.
        decoding: how they were drawn; None: greedy, or the only decoding there is.
        default_points: maximum of a problem whose metadata has no `points`.

    Raises:
        ConfigError: the run has no such samples.
    """
    iteration, decoding = _choose_samples(reader, run, suite, iteration, decoding)
    rows = reader.rows(
        "SELECT p.problem_id, p.question, p.reference, p.metadata, s.sample_id, s.policy_id, "
        "s.solution FROM samples s JOIN problems p ON p.problem_id = s.problem_id "
        f"WHERE s.purpose = {sql_literal(suite)} AND s.iteration = {iteration} "
        f"AND s.decoding = {sql_literal(decoding)} "
        "ORDER BY p.dataset, p.source_row, p.problem_id, s.index",
        run,
    )
    return Exam(run, iteration, suite, decoding, _questions(rows, default_points))


def _questions(rows: Iterable[Row], default_points: float) -> tuple[ExamQuestion, ...]:
    questions = []
    for problem_id, group in groupby(rows, key=lambda row: str(row["problem_id"])):
        drawn = list(group)
        metadata = json.loads(drawn[0]["metadata"])
        solutions = tuple(Solution(d["sample_id"], d["policy_id"], d["solution"]) for d in drawn)
        rubric = str(metadata.get(_RUBRIC) or drawn[0]["reference"])
        points = _points(metadata.get(_POINTS), default_points, drawn[0]["question"])
        questions.append(ExamQuestion(problem_id, drawn[0]["question"], rubric, points, solutions))
    return tuple(questions)


def _points(stated: object, default: float, question: str) -> float:
    points = default if stated is None else -1.0
    if isinstance(stated, int | float | str):
        with suppress(ValueError):
            points = float(stated)
    if not 0 < points < float("inf"):
        raise ConfigError(
            f"problem {question[:60]!r}: metadata field {_POINTS!r} must be a number > 0, got "
            f"{stated!r}; correct it in the problem set"
        )
    return points


def _choose_samples(
    reader: LakeReader, run: str, suite: str, iteration: int | None, decoding: str | None
) -> tuple[int, str]:
    """The iteration and the decoding of the samples to mark."""
    drawn = reader.rows(
        "SELECT DISTINCT purpose, iteration, decoding FROM samples ORDER BY 1, 2, 3", run
    )
    of_suite = [row for row in drawn if row["purpose"] == suite]
    if not of_suite:
        purposes = [row["purpose"] for row in drawn]
        raise ConfigError(_no_samples("--suite", suite, purposes, "suites", run))
    iterations = [row["iteration"] for row in of_suite]
    chosen = max(iterations) if iteration is None else iteration
    if chosen not in iterations:
        raise ConfigError(_no_samples("--iteration", chosen, iterations, "iterations", run))
    decodings = [row["decoding"] for row in of_suite if row["iteration"] == chosen]
    if decoding is None and len(decodings) > 1 and GREEDY not in decodings:
        raise ConfigError(f"--decoding must be one of {', '.join(decodings)}; name the one to mark")
    named = decoding or (GREEDY if GREEDY in decodings else decodings[0])
    if named not in decodings:
        raise ConfigError(_no_samples("--decoding", named, decodings, "decodings", run))
    return chosen, named


def _no_samples(option: str, value: object, found: Sequence[object], kind: str, run: str) -> str:
    listed = ", ".join(str(item) for item in dict.fromkeys(found)) or "none yet"
    return f"{option}: run {run!r} has no samples of {value!r}; its {kind} are: {listed}"
