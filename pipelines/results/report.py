"""Run report: tables, plot, gain, next commands. `jobs/show/report.py` prints it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipelines.config import RunConfig
from pipelines.config.suites import RUN_SPLITS
from pipelines.lake.seal import Seal
from pipelines.metrics.bootstrap import Estimate
from pipelines.results.commands import next_commands
from pipelines.results.figures import pass_metrics, plot_accuracy
from pipelines.results.paired import greedy_test_scores, paired_gain
from schemas import SAMPLES
from schemas.problems import TEST, VALIDATION
from schemas.rewards import CORRECT
from schemas.samples import ENGINE_KILLED

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader

_Key = TypeVar("_Key")
ReportRow = dict[str, str | None]
"""Column -> text; None where there is no value."""


@dataclass(frozen=True)
class RunReport:
    """A run's results, ready to print."""

    name: str
    policies: list[ReportRow]
    """One row per policy."""
    suites: list[ReportRow]
    """One row per transfer suite, one column per iteration."""
    seconds: list[ReportRow]
    """One row per iteration, one column per stage."""
    gain: Estimate | None
    """Greedy test accuracy, last policy minus base, over the same problems."""
    plot: Path | None
    commands: list[str]
    killed: str | None = None
    """The samples without a solution whose prompt kills the engine; None if there are none."""


def report(
    reader: LakeReader,
    config: RunConfig,
    timed_stages: Sequence[str],
    typed: Sequence[str] = (),
) -> RunReport:
    """The report of a run, from its tables; its plot is written to the run's folder.

    Args:
        reader: the lake.
        config: the run.
        timed_stages: stages whose seconds are shown, in the loop's order.
        typed: the arguments that `restem run` was given.
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
    plot = config.folder / "accuracy.png"
    return RunReport(
        run,
        policies=policy_rows(evaluations, selections),
        suites=suite_rows(evaluations),
        seconds=seconds_rows(latest.values(), timed_stages, tokens),
        gain=_gain(reader, config, evaluations),
        plot=plot_accuracy(evaluations, plot, run) if evaluations else None,
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
    """One row per policy: the samples that it was trained on, and its accuracy.

    Args:
        evaluations: rows of `evaluations`.
        selections: the numbers `sampled`, `correct` and `kept` of an iteration's E-step.
    """
    found = {(row["iteration"], row["suite"], row["metric"]): row for row in evaluations}
    chosen = {row["iteration"]: row for row in selections}
    return [
        {
            "iteration": str(i),
            **{name: _number(chosen.get(i), name, ",") for name in ("sampled", "correct", "kept")},
            "D_val": _percent(found.get((i, VALIDATION, "greedy_accuracy"))),
            "test greedy [95 % interval]": _interval(found.get((i, TEST, "greedy_accuracy"))),
            **{
                metric.replace("_at_", "@"): _percent(found.get((i, TEST, metric)))
                for metric in pass_metrics(evaluations)
            },
            **{
                _label(metric): _percent(found.get((i, TEST, metric)))
                for metric in _further_metrics(evaluations)
            },
        }
        for i in sorted({row["iteration"] for row in evaluations})
    ]


def _further_metrics(evaluations: Sequence[Row]) -> list[str]:
    """The test suite's greedy accuracies by further verifiers, and the agreement of verifiers."""
    names = {row["metric"] for row in evaluations if row["suite"] == TEST}
    return sorted(n for n in names if n.endswith("/greedy_accuracy") or "/agreement_with_" in n)


def _label(metric: str) -> str:
    return metric.replace("/greedy_accuracy", " greedy").replace(
        "/agreement_with_", " agrees with "
    )


def suite_rows(evaluations: Sequence[Row]) -> list[ReportRow]:
    """One row per transfer suite, its parts included: greedy accuracy by iteration."""
    found = {
        (row["suite"], row["iteration"]): row
        for row in evaluations
        if row["metric"] == "greedy_accuracy" and row["suite"] not in RUN_SPLITS
    }
    iterations = sorted({iteration for _, iteration in found})
    return [
        {"suite": suite, **{str(i): _interval(found.get((suite, i))) for i in iterations}}
        for suite in dict.fromkeys(suite for suite, _ in found)
    ]


def seconds_rows(
    seals: Collection[Seal], timed_stages: Sequence[str], tokens: Mapping[int, float]
) -> list[ReportRow]:
    """One row per iteration: seconds per stage and of all, tokens sampled and their rate.

    Args:
        seals: the last seal of each stage.
        timed_stages: stages that get a column if they are sealed, in order.
        tokens: iteration -> number of tokens sampled, over all starts.
    """
    seconds = {seal.key: seal.seconds for seal in seals}
    sampling = {s.iteration: dict(s.measures) for s in seals if s.table_name == SAMPLES.name}
    shown = [stage for stage in timed_stages if any(stage == sealed for _, sealed in seconds)]
    return [
        {
            "iteration": str(i),
            **{stage: _number(seconds, (i, stage), ".1f") for stage in shown},
            "all": f"{sum(value for (iteration, _), value in seconds.items() if iteration == i):.0f}",
            "tokens": _number(tokens, i, ",.0f"),
            "tokens/s": _number(sampling.get(i), "tokens_per_second", ",.0f"),
        }
        for i in sorted({iteration for iteration, _ in seconds})
    ]


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


def _percent(row: Row | None) -> str | None:
    return None if row is None else f"{100 * row['value']:.1f} %"


def _interval(row: Row | None) -> str | None:
    if row is None:
        return None
    return f"{_percent(row)} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"


def _number(values: Mapping[_Key, float] | None, key: _Key, form: str) -> str | None:
    value = None if values is None else values.get(key)
    return None if value is None else format(value, form)
