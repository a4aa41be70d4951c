"""Run report: tables, plot, gain, next commands. `jobs/show/report.py` prints it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import RunConfig
from pipelines.config.suites import RUN_SPLITS
from pipelines.lake.seal import Seal
from pipelines.metrics.bootstrap import Estimate
from pipelines.results.commands import next_commands
from pipelines.results.figures import plot_accuracy, ranked_metrics
from pipelines.results.grading.totals import SHARE
from pipelines.results.paired import greedy_test_scores, paired_gain
from schemas import SAMPLES
from schemas.problems import TEST, VALIDATION
from schemas.rewards import CORRECT
from schemas.samples import ENGINE_KILLED

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader

_SELECTED = {
    "sampled": "train sampled",
    "correct": "train correct",
    "kept": "train kept",
}
_NAMES = {"greedy_accuracy": "greedy", SHARE: "by hand"}
ReportRow = dict[str, str | None]
"""Column -> text; None where there is no value."""


@dataclass(frozen=True)
class RunReport:
    """A run's results, ready to print."""

    name: str
    policies: list[ReportRow]
    """One row per metric, one column per iteration, as in all of them."""
    suites: list[ReportRow]
    """One row per transfer suite."""
    seconds: list[ReportRow]
    """One row per stage."""
    gain: Estimate | None
    """Greedy test accuracy, last policy minus base, over the same problems."""
    plot: Path | None
    commands: list[str]
    pages: Path | None = None
    """First page of the HTML report, if it was written."""
    killed: str | None = None
    """The samples without a solution whose prompt kills the engine; None if there are none."""


def report(
    reader: LakeReader,
    config: RunConfig,
    timed_stages: Sequence[str],
    typed: Sequence[str] = (),
    plot: Path | None = None,
) -> RunReport:
    """The report of a run, from its tables.

    Args:
        reader: the lake.
        config: the run.
        timed_stages: stages whose seconds are shown, in the loop's order.
        typed: the arguments that `restem run` was given.
        plot: where its plot is written; None: nowhere.
    """
    run = config.name
    evaluations = reader.rows("SELECT * FROM evaluations ORDER BY iteration, suite, metric", run)
    selections = reader.rows(
        "SELECT iteration, count(*) AS sampled, "
        f"sum(CASE WHEN verdict = '{CORRECT}' THEN 1 ELSE 0 END) AS correct, "
        "sum(CASE WHEN kept THEN 1 ELSE 0 END) AS kept FROM selections GROUP BY iteration",
        run,
    )
    seals = reader.rows("SELECT * FROM stages ORDER BY attempt", run)
    latest = {seal.key: seal for seal in map(Seal.from_row, seals)}
    drawn = "SELECT iteration, sum(num_tokens) AS tokens FROM samples GROUP BY iteration"
    tokens = {row["iteration"]: float(row["tokens"]) for row in reader.rows(drawn, run)}
    sample = reader.rows("SELECT min(sample_id) AS id FROM training_set", run)[0]["id"]
    mlflow_run = reader.rows("SELECT max(mlflow_run_id) AS id FROM runs", run)[0]["id"]
    return RunReport(
        run,
        policies=policy_rows(evaluations, selections),
        suites=suite_rows(evaluations),
        seconds=seconds_rows(latest.values(), timed_stages, tokens),
        gain=_gain(reader, config, evaluations),
        plot=plot_accuracy(evaluations, plot, run) if evaluations and plot else None,
        commands=next_commands(config, sample, mlflow_run, typed),
        killed=killed_samples(reader, run),
    )


def killed_samples(reader: LakeReader, run: str) -> str | None:
    """The number of samples without a solution whose prompt kills the engine, in one sentence."""
    (row,) = reader.rows(
        "SELECT count(*) AS samples, count(DISTINCT prompt_id) AS prompts FROM samples "
        f"WHERE finish_reason = '{ENGINE_KILLED}'",
        run,
    )
    if not row["samples"]:
        return None
    return (
        f"{row['samples']:,} samples have no solution, since their prompts kill the engine "
        f"({row['prompts']:,} prompts, finish_reason {ENGINE_KILLED})."
    )


def policy_rows(evaluations: Sequence[Row], selections: Sequence[Row]) -> list[ReportRow]:
    """One row per figure of the policies: their training sets, then their accuracies in percent.

    Args:
        evaluations: rows of `evaluations`.
        selections: the numbers `sampled`, `correct` and `kept` of an iteration's E-step.
    """
    iterations = sorted({row["iteration"] for row in evaluations})
    chosen = {row["iteration"]: row for row in selections}
    counts = [
        _by_iteration("metric", label, iterations, {i: f"{chosen[i][name]:,}" for i in chosen})
        for name, label in _SELECTED.items()
        if chosen
    ]
    shown = [(VALIDATION, "greedy_accuracy", "D_val greedy")]
    shown += [(TEST, metric, _label(TEST, metric)) for metric in _test_metrics(evaluations)]
    return counts + [
        _by_iteration("metric", label, iterations, _intervals(evaluations, suite, metric))
        for suite, metric, label in shown
        if any((row["suite"], row["metric"]) == (suite, metric) for row in evaluations)
    ]


def suite_rows(evaluations: Sequence[Row]) -> list[ReportRow]:
    """One row per transfer suite, its parts included, and metric that sums it up, in percent.

    That is its greedy accuracy by each verifier (where nothing is drawn greedily, pass@k of the
    smallest k), and the share of points that people gave.
    """
    rows = [row for row in evaluations if row["suite"] not in RUN_SPLITS]
    iterations = sorted({row["iteration"] for row in rows})
    found: list[ReportRow] = []
    for suite in dict.fromkeys(row["suite"] for row in rows):
        names = {row["metric"] for row in rows if row["suite"] == suite}
        for metric in [*(_greedy(names) or ranked_metrics(names)[:1]), *({SHARE} & names)]:
            label = suite if metric == "greedy_accuracy" else _label(suite, metric)
            cells = _intervals(rows, suite, metric)
            found.append(_by_iteration("suite", label, iterations, cells))
    return found


def seconds_rows(
    seals: Collection[Seal], timed_stages: Sequence[str], tokens: Mapping[int, float]
) -> list[ReportRow]:
    """One row per stage with its seconds, then all stages', tokens sampled and their rate.

    Args:
        seals: the last seal of each stage.
        timed_stages: stages that get a row if they are sealed, in order.
        tokens: iteration -> number of tokens sampled, over all starts.
    """
    seconds = {seal.key: seal.seconds for seal in seals}
    iterations = sorted({iteration for iteration, _ in seconds})
    rates = {
        seal.iteration: seal.measures["tokens_per_second"]
        for seal in seals
        if seal.table_name == SAMPLES.name and "tokens_per_second" in seal.measures
    }
    rows = {
        stage: {i: f"{seconds[i, stage]:.1f}" for i in iterations if (i, stage) in seconds}
        for stage in timed_stages
    }
    rows["all"] = {
        i: f"{sum(value for (iteration, _), value in seconds.items() if iteration == i):.0f}"
        for i in iterations
    }
    rows["tokens"] = {i: f"{value:,.0f}" for i, value in tokens.items()}
    rows["tokens/s"] = {i: f"{value:,.0f}" for i, value in rates.items()}
    return [
        _by_iteration("stage", name, iterations, cells) for name, cells in rows.items() if cells
    ]


def _by_iteration(
    of: str, label: str, iterations: Sequence[int], cells: Mapping[int, str]
) -> ReportRow:
    return {of: label, **{str(i): cells.get(i) for i in iterations}}


def _test_metrics(evaluations: Sequence[Row]) -> list[str]:
    """The test suite's metrics that are shown: greedy by each verifier, then pass@k and maj@k."""
    names = {row["metric"] for row in evaluations if row["suite"] == TEST}
    agreements = sorted(name for name in names if "/agreement_with_" in name)
    return [*_greedy(names), *ranked_metrics(names), *agreements, *({SHARE} & names)]


def _greedy(names: Collection[str]) -> list[str]:
    """The greedy accuracies among the names of metrics, that by the run's own verifier first."""
    found = [name for name in names if name.endswith("greedy_accuracy")]
    return sorted(found, key=lambda name: ("/" in name, name))


def _label(suite: str, metric: str) -> str:
    """A metric's name for people; a further verifier's is below that of the run's own verifier."""
    verifier, _, name = metric.rpartition("/")
    if name.startswith("agreement_with_"):
        return f"{verifier} agrees with {name.removeprefix('agreement_with_')}"
    if verifier:
        return f"  by {verifier}"
    return f"{suite} {_NAMES.get(name, name.replace('_at_', '@'))}"


def _intervals(evaluations: Sequence[Row], suite: str, metric: str) -> dict[int, str]:
    """Iteration -> value with its interval, in percent."""
    return {
        row["iteration"]: f"{100 * row['value']:.1f} "
        f"[{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
        for row in evaluations
        if (row["suite"], row["metric"]) == (suite, metric)
    }


def describe_gain(gain: Estimate) -> str:
    """The gain over the base model in one sentence."""
    return (
        f"Greedy test accuracy, last policy minus base, paired over {gain.n} problems: "
        f"{100 * gain.value:+.1f} points "
        f"(95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})."
    )


def _gain(reader: LakeReader, config: RunConfig, evaluations: Sequence[Row]) -> Estimate | None:
    last = max((row["iteration"] for row in evaluations), default=0)
    if last == 0:
        return None
    base, final = (greedy_test_scores(reader, config.name, iteration) for iteration in (0, last))
    return paired_gain(base, final, config.evaluation.num_bootstrap, (config.seed,))
