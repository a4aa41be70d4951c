"""Print the runs of a lake, or how far one run is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jobs.show.console import Row, cell, console, heading, seconds, table, with_interval
from pipelines.runs.plan import loop_stages
from schemas.checks import CRITICAL

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.lake.reader import LakeReader


def show_runs(reader: LakeReader) -> None:
    """Print one line a run."""
    out = console()
    runs = reader.rows("SELECT run_id, config, created_at FROM runs ORDER BY created_at, run_id")
    rows = [_run_line(reader, run) for run in runs]
    out.print(f"lake {reader.uri}", style="dim")
    if rows:
        table(out, rows)
    else:
        out.print("no runs yet; start one with: restem run CONFIG")


def show_run(reader: LakeReader, run: str) -> None:
    """Print a run's stages, what is missing, its failed checks and evaluations."""
    out = console()
    stages = _sealed(reader, run)
    config = json.loads(reader.rows("SELECT config FROM runs", run)[0]["config"])
    wanted = _wanted(config)
    out.print(f"run {run}", style="bold")
    _stages(out, stages)
    _missing(out, reader, run, stages, wanted)
    _checks(out, reader, run)
    _evaluations(out, reader, run)


def _run_line(reader: LakeReader, run: Row) -> Row:
    stages = _sealed(reader, run["run_id"])
    wanted = _wanted(json.loads(run["config"]))
    done = {(stage["iteration"], stage["stage"]) for stage in stages}
    missing = [stage for stage in wanted if stage not in done]
    best = reader.rows(
        "SELECT * FROM latest_evaluations WHERE suite = 'test' AND metric = 'greedy_accuracy'",
        run["run_id"],
    )
    return {
        "run": run["run_id"],
        "started": cell(run["created_at"]),
        "stages": f"{len(wanted) - len(missing)}/{len(wanted)}",
        "next": "complete" if not missing else f"{missing[0][1]}, iteration {missing[0][0]}",
        "seconds": seconds(sum(stage["seconds"] for stage in stages)),
        "test greedy accuracy": with_interval(best[0] if best else None),
    }


def _wanted(config: dict[str, Any]) -> list[tuple[int, str]]:
    """The stages that a run with this configuration has."""
    looked_for = (config.get("problems") or {}).get("contamination") is not None
    return loop_stages(int(config.get("num_iterations", 0)), contamination=looked_for)


def _sealed(reader: LakeReader, run: str) -> list[dict[str, Any]]:
    """The last attempt at each stage, in the order in which they were sealed."""
    return reader.rows(
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY iteration, stage "
        "ORDER BY attempt DESC) AS nth FROM stages) WHERE nth = 1 "
        "ORDER BY committed_at, iteration",
        run,
    )


def _stages(out: Console, stages: list[dict[str, Any]]) -> None:
    heading(out, "Sealed stages")
    if not stages:
        out.print("  none yet")
        return
    rows = [
        {
            "iteration": stage["iteration"],
            "stage": stage["stage"],
            "table": stage["table_name"],
            "rows": f"{stage['rows']:,}".rjust(9),
            "time": seconds(stage["seconds"]).rjust(7),
            "version": stage["version"],
            "attempt": stage["attempt"],
            "sealed (UTC)": cell(stage["committed_at"]),
        }
        for stage in stages
    ]
    table(out, rows)
    out.print(f"  {seconds(sum(stage['seconds'] for stage in stages))} in all", style="dim")


def _missing(
    out: Console,
    reader: LakeReader,
    run: str,
    stages: list[dict[str, Any]],
    wanted: list[tuple[int, str]],
) -> None:
    done = {(stage["iteration"], stage["stage"]) for stage in stages}
    missing = [stage for stage in wanted if stage not in done]
    heading(out, "To do")
    if not missing:
        out.print("  nothing: the run is complete", style="green")
        return
    iteration, name = missing[0]
    out.print(f"  next: {name}, iteration {iteration}{_under_way(reader, run, name, iteration)}")
    if missing[1:]:
        out.print("  then: " + ", ".join(f"{stage} {at}" for at, stage in missing[1:]))


def _under_way(reader: LakeReader, run: str, stage: str, iteration: int) -> str:
    """How much of a stage that commits as it goes is there."""
    wanted = f"SELECT coalesce(sum(num_samples), 0) AS n FROM prompts WHERE iteration = {iteration}"
    made = {"generate": "samples", "score": "rewards"}.get(stage)
    if made is None:
        return ""
    there = reader.rows(f"SELECT count(*) AS n FROM {made} WHERE iteration = {iteration}", run)
    whole = reader.rows(wanted, run)[0]["n"]
    return f" ({there[0]['n']:,} of {whole:,} {made} committed)"


def _checks(out: Console, reader: LakeReader, run: str) -> None:
    heading(out, "Checks")
    failed = reader.rows(
        "SELECT * FROM checks WHERE NOT passed ORDER BY severity, iteration, table_name",
        run,
    )
    passed = reader.rows("SELECT count(*) AS n FROM checks WHERE passed", run)[0]["n"]
    out.print(f"  {passed:,} passed, {len(failed):,} failed")
    for check in failed:
        color = "red" if check["severity"] == CRITICAL else "yellow"
        out.print(
            f"  {check['severity']}: {check['table_name']}, iteration {check['iteration']}: "
            f"{check['rule']}; observed {check['observed']}, "
            f"{cell(check['num_unexpected'])} rows break it",
            style=color,
        )


def _evaluations(out: Console, reader: LakeReader, run: str) -> None:
    found = reader.rows("SELECT * FROM evaluations ORDER BY suite, metric, iteration", run)
    heading(out, "Evaluations (95 % interval), by iteration; 0 is the base model")
    if not found:
        out.print("  none yet")
        return
    iterations = sorted({row["iteration"] for row in found})
    by_metric: dict[tuple[str, str], dict[int, Row]] = {}
    for row in found:
        by_metric.setdefault((row["suite"], row["metric"]), {})[row["iteration"]] = row
    rows = [
        {"suite": suite, "metric": metric}
        | {str(i): with_interval(values.get(i)) for i in iterations}
        for (suite, metric), values in by_metric.items()
    ]
    table(out, rows)
