"""What a run leaves in the tracker to look at: some problems with their solutions, the checks."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig
from pipelines.results.report import Reader, Row
from schemas.problems import TRAIN


def sample_table(reader: Reader, config: RunConfig, num_problems: int = 20) -> list[dict[str, Any]]:
    """The best and the worst solution of some training problems, of the last E-step.

    Problems that were solved sometimes come first: there the two differ.
    """
    columns = ["problem_id", "question", "reference", "purpose", "reward", "verdict", "solution"]
    iteration = config.num_iterations - 1
    rows = reader.arrow(
        "sample_verdicts", run=config.name, iteration=iteration, columns=columns
    ).to_pylist()
    drawn = sorted((row for row in rows if row["purpose"] == TRAIN), key=_best_first)
    pairs = [
        (group[0], group[-1])
        for _, problem in groupby(drawn, key=lambda row: row["problem_id"])
        for group in [list(problem)]
    ]
    pairs.sort(key=lambda pair: pair[0]["reward"] == pair[1]["reward"])
    return [_pair(*pair) for pair in pairs[:num_problems]]


def checks_file(reader: Reader, config: RunConfig) -> Path:
    """The run's checks as a CSV file in its folder."""
    from pyarrow import csv

    path = config.folder / "checks.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    csv.write_csv(reader.arrow("checks", run=config.name), path)
    return path


def _best_first(row: Row) -> tuple[str, float, str]:
    return (row["problem_id"], -row["reward"], row["solution"])


def _pair(best: Row, worst: Row) -> dict[str, Any]:
    return {
        "problem": best["question"],
        "reference": best["reference"],
        "best_solution": best["solution"].strip(),
        "best_verdict": best["verdict"],
        "worst_solution": worst["solution"].strip(),
        "worst_verdict": worst["verdict"],
    }
