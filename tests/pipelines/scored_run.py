"""A small run up to its verdicts, on real tables, whose reward is a file that a test may change."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import RunConfig
from pipelines.lake.lake import Lake, open_lake
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.lake.snapshot import TableSnapshot
from pipelines.runs.rescore import Rescored, Rescorer, rescoring, verifiers_of
from pipelines.runtime.progress import SilentProgress
from pipelines.stage import ArrowStage
from pipelines.stages.score import score
from schemas import PROBLEMS, PROMPTS, REWARDS, SAMPLES, SELECTIONS, TRAINING_SET
from schemas.table import Table
from tests.doubles import FakeEngines, OneRuleGate, QuietListener, context, unused
from tests.factories import arrow

STRICT = "def reward(solution, reference):\n    return float(solution == reference)\n"
LENIENT = (
    "def reward(solution, reference):\n"
    "    return float(solution.rstrip('. ') == reference and solution != '4')\n"
)
SOLUTIONS = [
    *[("problem-1", text) for text in ("2", "2.", "3", "2. ")],
    *[("problem-2", text) for text in ("4", "5")],
]
"""By the strict reward s0 and s4 are correct; by the lenient one s0, s1 and s3."""


class ScoredRun:
    """The run in a folder, where the module of its reward is too.

    With a suite, the samples of problem-2 are the suite's.
    """

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, suite: dict[str, Any] | None = None
    ) -> None:
        self.folder = folder
        self._purpose = "train" if suite is None else str(suite["name"])
        # A name of its own: this process imports a module once.
        self._module = f"reward_{uuid.uuid4().hex}"
        monkeypatch.chdir(folder)
        self.write_reward(STRICT)
        source = {"kind": "jsonl", "location": "x.jsonl"}
        self.config = RunConfig.model_validate(
            {
                "name": "r",
                "num_iterations": 1,
                "output": folder,
                "problems": {"sources": [source]},
                "reward": {"function": f"python:{self._module}:reward"},
                "curate": {"cutoff": 2, "distinct": "none"},
                "evaluation": {"suites": [] if suite is None else [{"source": source, **suite}]},
                "lake": {"uri": str(folder / "lake")},
                "mlflow": {"enabled": False},
            }
        )

    def write_reward(self, code: str) -> None:
        (self.folder / f"{self._module}.py").write_text(code, encoding="utf-8")

    @property
    def reader(self) -> LakeReader:
        return LakeReader(Location(str(self.folder / "lake")))

    @contextmanager
    def open(self, spark: Callable[[], Any] = unused) -> Iterator[Lake]:
        gate = OneRuleGate({"rewards": "verdict"}, "error")
        listener, progress = QuietListener(), SilentProgress()
        with open_lake(self.config, FakeEngines(spark), gate, listener, progress) as lake:
            yield lake

    def score(self) -> TableSnapshot:
        """Make everything up to the verdicts of iteration 0."""
        with self.open() as lake:
            lake.materialize(literal("ingest", PROBLEMS, _problems()), 0)
            prompts = lake.materialize(literal("render", PROMPTS, _prompts()), 0)
            samples = lake.materialize(literal("generate", SAMPLES, self._samples()), 0)
            return lake.materialize(score(self.config, 0), 0, samples, prompts)

    def _samples(self) -> list[dict[str, Any]]:
        return [
            {"sample_id": f"s{n}", "problem_id": problem, "prompt_id": f"of {problem}", "index": n}
            | {"solution": text, "purpose": "train" if problem == "problem-1" else self._purpose}
            for n, (problem, text) in enumerate(SOLUTIONS)
        ]

    def keep(self, *kept: str) -> None:
        """Make the training set of iteration 1 of the samples that are named."""
        with self.open() as lake:
            samples, rewards = lake.latest_snapshot(SAMPLES, 0), lake.latest_snapshot(REWARDS, 0)
            chosen = [{**row, "kept": row["sample_id"] in kept} for row in _considered(rewards)]
            select = literal("select", SELECTIONS, chosen, SAMPLES, REWARDS)
            selections = lake.materialize(select, 1, samples, rewards)
            trained = [{"sample_id": name} for name in kept]
            curate = literal("curate", TRAINING_SET, trained, SELECTIONS, SAMPLES)
            lake.materialize(curate, 1, selections, samples)

    def score_again(self) -> TableSnapshot:
        """A new attempt at the verdicts, and nothing else that a rescoring does."""
        with self.open() as lake:
            stage = rescoring(verifiers_of(self.config))
            inputs = (lake.latest_snapshot(SAMPLES, 0), lake.latest_snapshot(PROMPTS, 0))
            return lake.remake(stage, 0, *inputs)

    def rescore(
        self, *, dry_run: bool = False, spark: Callable[[], Any] = unused
    ) -> list[Rescored]:
        with self.open(spark) as lake:
            rescorer = Rescorer(self.config, lake, context(self.folder, spark))
            return list(rescorer.rescore(dry_run=dry_run))


def literal(name: str, table: Table, rows: list[dict[str, Any]], *reads: Table) -> ArrowStage:
    """A stage that makes these rows."""
    made = arrow(table, *rows).drop_columns(["run_id", "iteration"])
    return ArrowStage(name=name, table=table, reads=reads, function=lambda *_: made)


def _problems() -> list[dict[str, Any]]:
    return [{"problem_id": f"problem-{n}", "reference": str(2 * n)} for n in (1, 2)]


def _prompts() -> list[dict[str, Any]]:
    return [{"prompt_id": f"of {row['problem_id']}", **row} for row in _problems()]


def _considered(rewards: TableSnapshot) -> list[dict[str, Any]]:
    rows = rewards.arrow(["sample_id", "problem_id", "reward", "verdict"]).to_pylist()
    return [{**row, "rank": None} for row in rows]
