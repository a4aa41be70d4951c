"""Print the runs of a lake, or the progress of one run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from expectations.check_result import describe
from jobs.show.console import cell, console, heading, seconds, table, table_in_blocks, with_interval
from pipelines.errors import LakeError
from pipelines.lake.stored_run import stored_config
from pipelines.results.overview import sealed_stages
from pipelines.results.report import killed_samples
from pipelines.runs.steps import Step, steps_of
from pipelines.stage import StreamStage
from schemas.checks import CRITICAL

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader


def show_runs(reader: LakeReader) -> None:
    """Print one line per run."""
    out = console()
    runs = reader.rows("SELECT run_id, created_at FROM runs ORDER BY created_at, run_id")
    rows = [_run_line(reader, run) for run in runs]
    out.print(f"lake {reader.uri}", style="dim")
    if rows:
        table(out, rows)
    else:
        out.print("no runs yet; start one with: restem run CONFIG")


def show_run(reader: LakeReader, run: str) -> None:
    """Print a run's sealed stages, the missing ones, its failed checks and its evaluations."""
    out = console()
    sealed = sealed_stages(reader, run)
    steps = steps_if_known(reader, run)
    out.print(f"run {run}", style="bold")
    _show_sealed(out, sealed)
    _show_missing(out, reader, run, None if steps is None else missing_steps(steps, sealed))
    killed = killed_samples(reader, run)
    if killed is not None:
        out.print(f"  {killed}", style="yellow")
    _show_checks(out, reader, run)
    _show_evaluations(out, reader, run)


def describe_progress(reader: LakeReader, run: str) -> str:
    """How far a run is, in a line."""
    sealed = sealed_stages(reader, run)
    steps = steps_if_known(reader, run)
    if steps is None:
        return f"{len(sealed)} stages sealed; another version of restem made the run"
    missing = missing_steps(steps, sealed)
    done = f"{len(steps) - len(missing)} of {len(steps)} stages sealed"
    if not missing:
        return f"Complete: {done}"
    following = f"{missing[0].stage.name}, iteration {missing[0].iteration}"
    return f"{done}; next: {following}{_committed_so_far(reader, run, missing[0])}"


def _run_line(reader: LakeReader, run: Row) -> Row:
    sealed = sealed_stages(reader, run["run_id"])
    steps = steps_if_known(reader, run["run_id"])
    best = reader.rows(
        "SELECT * FROM latest_evaluations WHERE suite = 'test' AND metric = 'greedy_accuracy'",
        run["run_id"],
    )
    progress, following = str(len(sealed)), "not known: made by another version of restem"
    if steps is not None:
        missing = missing_steps(steps, sealed)
        progress, following = f"{len(steps) - len(missing)}/{len(steps)}", "complete"
        if missing:
            following = f"{missing[0].stage.name}, iteration {missing[0].iteration}"
    return {
        "run": run["run_id"],
        "started": cell(run["created_at"]),
        "stages": progress,
        "next": following,
        "seconds": seconds(sum(stage["seconds"] for stage in sealed)),
        "test greedy accuracy": with_interval(best[0] if best else None),
    }


def steps_if_known(reader: LakeReader, run: str) -> list[Step] | None:
    """The steps of a run; None if another version of restem made it."""
    try:
        return steps_of(stored_config(reader, run))
    except LakeError:
        return None


def missing_steps(steps: list[Step], sealed: list[Row]) -> list[Step]:
    """The steps that are not sealed, or cover less than the run asks for."""
    covered = {
        (stage["iteration"], stage["stage"]): set(json.loads(stage["covers"])) for stage in sealed
    }
    return [s for s in steps if s.key not in covered or not set(s.stage.covers) <= covered[s.key]]


def _show_sealed(out: Console, stages: list[dict[str, Any]]) -> None:
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


def _show_missing(out: Console, reader: LakeReader, run: str, missing: list[Step] | None) -> None:
    heading(out, "To do")
    if missing is None:
        out.print("  not known: another version of restem made the run", style="yellow")
        return
    if not missing:
        out.print("  nothing: the run is complete", style="green")
        return
    first, *others = missing
    so_far = _committed_so_far(reader, run, first)
    out.print(f"  next: {first.stage.name}, iteration {first.iteration}{so_far}")
    if others:
        out.print("  then: " + ", ".join(f"{s.stage.name} {s.iteration}" for s in others))


def _committed_so_far(reader: LakeReader, run: str, step: Step) -> str:
    """How many rows of a stage that commits as it goes are there."""
    if not isinstance(step.stage, StreamStage):
        return ""
    made, where = step.stage.table.name, f"WHERE iteration = {step.iteration}"
    there = reader.rows(f"SELECT count(*) AS n FROM {made} {where}", run)[0]["n"]
    wanted = f"SELECT coalesce(sum(num_samples), 0) AS n FROM prompts {where}"
    whole = reader.rows(wanted, run)[0]["n"]
    return f" ({there:,} of {whole:,} {made} committed)"


def _show_checks(out: Console, reader: LakeReader, run: str) -> None:
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
            f"{describe(check['rule'], check['observed'])}",
            style=color,
        )


def _show_evaluations(out: Console, reader: LakeReader, run: str) -> None:
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
        {"metric": f"{suite} {metric}"} | {str(i): with_interval(values.get(i)) for i in iterations}
        for (suite, metric), values in by_metric.items()
    ]
    table_in_blocks(out, rows)
