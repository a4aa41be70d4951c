"""What a run leaves in the tracker to look at."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from deltalake import write_deltalake

from pipelines.config import ProblemsConfig, RunConfig, SourceConfig
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.runs.artifacts import checks_file, sample_table
from schemas import CHECKS, PROBLEMS, REWARDS, RUNS, SAMPLES
from schemas.table import Table
from tests import factories


def config(folder: Path) -> RunConfig:
    sources = (SourceConfig(kind="jsonl", location="x.jsonl"),)
    return RunConfig(
        name="demo", output=folder, problems=ProblemsConfig(sources=sources), num_iterations=1
    )


def write_lake(folder: Path, tables: dict[Table, list[dict[str, Any]]]) -> LakeReader:
    run: dict[Table, list[dict[str, Any]]] = {RUNS: [{}]}
    for table, rows in (run | tables).items():
        arrow = factories.arrow(table, *({**row, "run_id": "demo"} for row in rows))
        write_deltalake(folder / "lake" / table.name, arrow)
    return LakeReader(Location(str(folder / "lake")))


def test_problems_solved_sometimes_come_first_with_best_and_worst(tmp_path: Path) -> None:
    draws = [
        ("a", " 5", 0.0, "train"),
        ("b", " 5", 0.0, "train"),
        ("b", " 4", 1.0, "train"),
        ("t", " 4", 1.0, "test"),
    ]
    names = [{"iteration": 0, "sample_id": f"s{n}"} for n in range(len(draws))]
    samples = [
        name | {"problem_id": problem, "solution": solution, "purpose": purpose}
        for name, (problem, solution, _, purpose) in zip(names, draws, strict=True)
    ]
    rewards = [
        name | {"reward": reward, "verdict": "correct" if reward else "wrong"}
        for name, (_, _, reward, _) in zip(names, draws, strict=True)
    ]
    problems = [
        {"problem_id": problem, "question": f"Q {problem}", "reference": "4"} for problem in "abt"
    ]
    reader = write_lake(tmp_path, {PROBLEMS: problems, SAMPLES: samples, REWARDS: rewards})
    found = sample_table(reader, config(tmp_path))
    assert [row["problem"] for row in found] == ["Q b", "Q a"]
    assert found[0]["best_solution"] == "4"
    assert found[0]["best_verdict"] == "correct"
    assert found[0]["worst_solution"] == "5"
    assert found[0]["worst_verdict"] == "wrong"


def test_checks_are_kept_as_csv(tmp_path: Path) -> None:
    reader = write_lake(tmp_path, {CHECKS: [{}, {}]})
    with checks_file(reader, config(tmp_path)).open() as file:
        assert [row["rule"] for row in csv.DictReader(file)] == ["rule 1", "rule 2"]
