"""Compare runs: what was set differently, what came out, what it cost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import LakeError

if TYPE_CHECKING:
    from pipelines.lake.reader import LakeReader

Row = dict[str, Any]
_NUM_BOOTSTRAP = 10_000


@dataclass(frozen=True)
class PairedDifference:
    """Test accuracy of `run` minus that of `against`, final greedy policies, shared problems."""

    run: str
    against: str
    n: int
    wins: int
    """Problems that only `run` solves."""
    losses: int
    difference: float
    ci_low: float
    ci_high: float
    """95 % percentile bootstrap over problems."""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side; lists of values are in the runs' order."""

    runs: list[str]
    settings: dict[str, list[Any]]
    """The settings that differ: dotted name -> value in each run."""
    evaluations: dict[tuple[str, str, int], list[Row | None]]
    """(suite, metric, iteration) -> the evaluation in each run."""
    differences: list[PairedDifference]
    costs: dict[str, list[Any]]
    """Rows, tokens and seconds: name -> value in each run."""


def compare(reader: LakeReader, runs: list[str]) -> Comparison:
    """Compare two or more runs of a lake.

    Raises:
        LakeError: fewer than two runs, one twice, or one that is not there.
    """
    if len(set(runs)) < 2 or len(set(runs)) < len(runs):
        raise LakeError(f"compare: name two or more different runs, got {' '.join(runs)!r}")
    configs = [_config(reader, run) for run in runs]
    scores = [_greedy_test_scores(reader, run) for run in runs]
    pairs = zip(runs[1:], scores[1:], strict=True)
    differences = [_paired(run, runs[0], score, scores[0]) for run, score in pairs]
    return Comparison(
        runs=runs,
        settings=_differing(configs),
        evaluations=_evaluations(reader, runs),
        differences=[pair for pair in differences if pair is not None],
        costs=_costs(reader, runs),
    )


def _config(reader: LakeReader, run: str) -> Row:
    rows = reader.rows("SELECT config FROM runs ORDER BY created_at DESC LIMIT 1", run)
    config: Row = json.loads(rows[0]["config"])
    return config


def _differing(configs: list[Row]) -> dict[str, list[Any]]:
    flat = [_flat(config) for config in configs]
    names = sorted({name for config in flat for name in config})
    values = {name: [config.get(name) for config in flat] for name in names if name != "name"}
    return {name: row for name, row in values.items() if any(v != row[0] for v in row)}


def _flat(tree: Row, prefix: str = "") -> Row:
    leaves: Row = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            leaves |= _flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _evaluations(
    reader: LakeReader, runs: list[str]
) -> dict[tuple[str, str, int], list[Row | None]]:
    found: dict[tuple[str, str, int], list[Row | None]] = {}
    for place, run in enumerate(runs):
        for row in reader.rows("SELECT * FROM evaluations", run):
            key = (row["suite"], row["metric"], row["iteration"])
            found.setdefault(key, [None] * len(runs))[place] = row
    return dict(sorted(found.items(), key=_suite_order))


def _suite_order(item: tuple[tuple[str, str, int], object]) -> tuple[int, str, str, int]:
    suite, metric, iteration = item[0]
    known = ("test", "validation", "train")
    return (known.index(suite) if suite in known else len(known), suite, metric, iteration)


def _greedy_test_scores(reader: LakeReader, run: str) -> dict[str, float]:
    """Problem -> 1.0 if the run's last evaluated policy solves it greedily, else 0.0."""
    rows = reader.rows(
        "SELECT s.problem_id, avg(CASE WHEN r.verdict = 'correct' THEN 1.0 ELSE 0.0 END) AS solved "
        "FROM samples s JOIN evaluated_rewards r "
        "ON r.iteration = s.iteration AND r.sample_id = s.sample_id "
        "WHERE s.purpose = 'test' AND s.decoding = 'greedy' "
        "AND s.iteration = (SELECT max(e.iteration) FROM evaluations e) GROUP BY s.problem_id",
        run,
    )
    return {row["problem_id"]: row["solved"] for row in rows}


def _paired(
    run: str, against: str, score: dict[str, float], baseline: dict[str, float]
) -> PairedDifference | None:
    import numpy as np

    shared = sorted(set(score) & set(baseline))
    if not shared:
        return None
    gains = np.array([score[problem] - baseline[problem] for problem in shared])
    random = np.random.default_rng(0)
    means = [
        gains[random.integers(len(gains), size=len(gains))].mean() for _ in range(_NUM_BOOTSTRAP)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return PairedDifference(
        run,
        against,
        n=len(shared),
        wins=int((gains > 0).sum()),
        losses=int((gains < 0).sum()),
        difference=float(gains.mean()),
        ci_low=float(low),
        ci_high=float(high),
    )


_COSTS = {
    "iterations": "SELECT max(iteration) FROM policies",
    "samples drawn": "SELECT count(*) FROM samples",
    "tokens sampled": "SELECT coalesce(sum(num_tokens), 0) FROM samples",
    "training rows": "SELECT count(*) FROM training_set",
    "tokens labelled": "SELECT coalesce(sum(num_tokens), 0) FROM training_set",
}


def _costs(reader: LakeReader, runs: list[str]) -> dict[str, list[Any]]:
    costs = {name: [_one(reader, query, run) for run in runs] for name, query in _COSTS.items()}
    spent = [_seconds(reader, run) for run in runs]
    costs["seconds, all stages"] = [sum(seconds.values()) for seconds in spent]
    for stage in dict.fromkeys(stage for seconds in spent for stage in seconds):
        costs[f"seconds, {stage}"] = [seconds.get(stage) for seconds in spent]
    return costs


def _one(reader: LakeReader, query: str, run: str) -> Any:
    return next(iter(reader.rows(query, run)[0].values()))


def _seconds(reader: LakeReader, run: str) -> dict[str, float]:
    rows = reader.rows(
        "SELECT stage, sum(seconds) AS seconds FROM stages GROUP BY stage ORDER BY 2 DESC", run
    )
    return {row["stage"]: row["seconds"] for row in rows}
