"""What a run leaves in the tracker to look at: some problems with their solutions, the checks."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import RunConfig
from schemas.problems import TRAIN

if TYPE_CHECKING:
    from pipelines.lake.reader import LakeReader


def sample_table(
    reader: LakeReader, config: RunConfig, num_problems: int = 20
) -> list[dict[str, str]]:
    """The best and the worst solution of some training problems, from the last E-step.

    Problems that were solved sometimes come first: only there do the two differ in reward.
    """
    drawn = reader.rows(
        "SELECT problem_id, question, reference, reward, verdict, solution FROM sample_verdicts "
        f"WHERE purpose = '{TRAIN}' AND iteration = {config.num_iterations - 1} "
        "ORDER BY problem_id, reward DESC, solution",
        config.name,
    )
    pairs = [
        (samples[0], samples[-1])
        for _, group in groupby(drawn, key=lambda row: row["problem_id"])
        for samples in [list(group)]
    ]
    pairs.sort(key=lambda pair: pair[0]["reward"] == pair[1]["reward"])
    return [
        {
            "problem": best["question"],
            "reference": best["reference"],
            "best_solution": best["solution"].strip(),
            "best_verdict": best["verdict"],
            "worst_solution": worst["solution"].strip(),
            "worst_verdict": worst["verdict"],
        }
        for best, worst in pairs[:num_problems]
    ]


def checks_file(reader: LakeReader, config: RunConfig) -> Path:
    """The run's checks as a CSV file in its folder."""
    from pyarrow import csv

    path = config.folder / "checks.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    csv.write_csv(reader.arrow("checks", run=config.name), path)
    return path
