"""Compare runs: settings that differ, evaluations, paired accuracy of the final policies, cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.config.flatten import flatten
from pipelines.config.suites import RUN_SPLITS
from pipelines.errors import LakeError
from pipelines.metrics.bootstrap import Estimate
from pipelines.results.paired import Scores, greedy_test_scores, paired_gain

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader

_NUM_BOOTSTRAP = 10_000
_SUITE_ORDER = tuple(reversed(RUN_SPLITS))
_COSTS = {
    "iterations": "SELECT max(iteration) AS cost FROM policies",
    "samples drawn": "SELECT count(*) AS cost FROM samples",
    "tokens sampled": "SELECT coalesce(sum(num_tokens), 0) AS cost FROM samples",
    "training rows": "SELECT count(*) AS cost FROM training_set",
    "tokens labelled": "SELECT coalesce(sum(num_tokens), 0) AS cost FROM training_set",
}


@dataclass(frozen=True)
class PairedDifference:
    """The final greedy policies of two runs on the test problems that both answered."""

    run: str
    baseline: str
    gain: Estimate
    """Test accuracy of `run` minus that of `baseline`."""
    wins: int
    """Number of problems that only `run` solves."""
    losses: int
    """Number of problems that only `baseline` solves."""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side; lists of values are in the order of `runs`."""

    runs: list[str]
    settings: dict[str, list[object]]
    """The settings that differ: dotted name -> value in each run."""
    evaluations: dict[tuple[str, str, int], list[Row | None]]
    """(suite, metric, iteration) -> the evaluation in each run."""
    differences: list[PairedDifference]
    """Each run compared with the first."""
    costs: dict[str, list[int | float | None]]
    """Rows, tokens and seconds: name -> value in each run."""


def compare(reader: LakeReader, runs: list[str]) -> Comparison:
    """Compare two or more runs of a lake.

    Raises:
        LakeError: fewer than two runs, one named twice, or one that the lake does not have.
    """
    if len(set(runs)) < 2 or len(set(runs)) < len(runs):
        raise LakeError(f"compare: name two or more different runs, got {' '.join(runs)!r}")
    settings = _settings(reader, runs)
    scores = [_final_scores(reader, run) for run in runs]
    pairs = zip(runs[1:], scores[1:], strict=True)
    differences = [pair_runs(run, runs[0], final, scores[0]) for run, final in pairs]
    return Comparison(
        runs=runs,
        settings=settings,
        evaluations=_evaluations(reader, runs),
        differences=[pair for pair in differences if pair is not None],
        costs=_costs(reader, runs),
    )


def pair_runs(run: str, baseline: str, final: Scores, base: Scores) -> PairedDifference | None:
    """The paired difference of two runs from their scores; None if they share no problem."""
    gain = paired_gain(base, final, _NUM_BOOTSTRAP, seed=(0,))
    if gain is None:
        return None
    shared = base.keys() & final.keys()
    wins = sum(final[problem] > base[problem] for problem in shared)
    losses = sum(final[problem] < base[problem] for problem in shared)
    return PairedDifference(run, baseline, gain, wins, losses)


def _settings(reader: LakeReader, runs: list[str]) -> dict[str, list[object]]:
    query = "SELECT config FROM runs ORDER BY created_at DESC LIMIT 1"
    configs = [flatten(json.loads(reader.rows(query, run)[0]["config"])) for run in runs]
    names = sorted({name for config in configs for name in config} - {"name"})
    values = {name: [config.get(name) for config in configs] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def _final_scores(reader: LakeReader, run: str) -> dict[str, float]:
    last = reader.rows("SELECT max(iteration) AS iteration FROM evaluations", run)[0]["iteration"]
    return {} if last is None else greedy_test_scores(reader, run, last)


def _evaluations(
    reader: LakeReader, runs: list[str]
) -> dict[tuple[str, str, int], list[Row | None]]:
    """The evaluations of all runs: those of the test problems first."""
    found: dict[tuple[str, str, int], list[Row | None]] = {}
    for place, run in enumerate(runs):
        for row in reader.rows("SELECT * FROM evaluations", run):
            key = (row["suite"], row["metric"], row["iteration"])
            found.setdefault(key, [None] * len(runs))[place] = row

    def order(key: tuple[str, str, int]) -> tuple[int, str, str, int]:
        known = key[0] in _SUITE_ORDER
        return (_SUITE_ORDER.index(key[0]) if known else len(_SUITE_ORDER), *key)

    return {key: found[key] for key in sorted(found, key=order)}


def _costs(reader: LakeReader, runs: list[str]) -> dict[str, list[int | float | None]]:
    costs: dict[str, list[int | float | None]] = {
        name: [reader.rows(query, run)[0]["cost"] for run in runs] for name, query in _COSTS.items()
    }
    query = "SELECT stage, sum(seconds) AS seconds FROM stages GROUP BY stage ORDER BY 2 DESC"
    seconds: list[Mapping[str, float]] = [
        {row["stage"]: row["seconds"] for row in reader.rows(query, run)} for run in runs
    ]
    costs["seconds, all stages"] = [sum(of_run.values()) for of_run in seconds]
    for stage in dict.fromkeys(stage for of_run in seconds for stage in of_run):
        costs[f"seconds, {stage}"] = [of_run.get(stage) for of_run in seconds]
    return costs
