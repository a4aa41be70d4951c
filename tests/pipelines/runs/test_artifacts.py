"""What is kept of a run to look at."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config import ProblemsConfig, RunConfig, SourceConfig
from pipelines.runs.artifacts import checks_file, sample_table
from schemas import CHECKS
from tests import factories

if TYPE_CHECKING:
    import pyarrow as pa


class Tables:
    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows

    def arrow(
        self,
        table: str,
        run: str | None = None,
        iteration: int | None = None,
        version: int | None = None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        return self.rows.select(columns) if columns else self.rows


def config(folder: Path) -> RunConfig:
    sources = (SourceConfig(kind="jsonl", location="x.jsonl"),)
    return RunConfig(name="demo", output=folder, problems=ProblemsConfig(sources=sources))


def draw(problem: str, solution: str, reward: float, purpose: str = "train") -> dict[str, Any]:
    verdict = "correct" if reward else "wrong"
    return {
        "problem_id": problem,
        "question": f"Q {problem}",
        "reference": "4",
        "purpose": purpose,
        "reward": reward,
        "verdict": verdict,
        "solution": solution,
    }


def test_problems_solved_sometimes_come_first_with_best_and_worst(tmp_path: Path) -> None:
    import pyarrow as pa

    draws = [
        draw("a", " 5", 0.0),
        draw("b", " 5", 0.0),
        draw("b", " 4", 1.0),
        draw("t", " 4", 1.0, "test"),
    ]
    found = sample_table(Tables(pa.Table.from_pylist(draws)), config(tmp_path))
    assert [row["problem"] for row in found] == ["Q b", "Q a"]
    assert found[0]["best_solution"] == "4"
    assert found[0]["best_verdict"] == "correct"
    assert found[0]["worst_solution"] == "5"
    assert found[0]["worst_verdict"] == "wrong"


def test_checks_are_kept_as_csv(tmp_path: Path) -> None:
    path = checks_file(Tables(factories.arrow(CHECKS, {}, {})), config(tmp_path))
    with path.open() as file:
        assert [row["rule"] for row in csv.DictReader(file)] == ["rule 1", "rule 2"]
