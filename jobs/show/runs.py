"""Print the runs of a lake with their sizes; fork, rename and delete them."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from jobs.show.console import console, heading, table
from jobs.show.status import missing_steps, steps_if_known
from pipelines.errors import ConfigError
from pipelines.lake.lease import held_runs, require_free
from pipelines.lake.run_state import run_state
from pipelines.lake.sizes import Size, sizes_by_run
from pipelines.lake.stored_run import stored_config
from pipelines.results.commands import lake_arguments
from pipelines.results.overview import sealed_stages
from pipelines.runs.fork import fork, plan_fork
from pipelines.runs.whole_run import Deletion, delete_run, plan_deletion, rename_run
from pipelines.runtime.progress import for_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e4, "k"))


def list_runs(reader: LakeReader) -> None:
    """Print one line per run: where it is, how good its last policy, and what it weighs.

    Raises:
        LakeError: there is no lake.
    """
    out = console()
    runs = reader.rows("SELECT run_id, created_at FROM runs ORDER BY created_at, run_id")
    held, sizes = held_runs(reader.location), sizes_by_run(reader.location)
    out.print(f"lake {reader.uri}", style="dim")
    if not runs:
        out.print("no runs yet; start one with: restem run CONFIG")
        return
    rows = [
        _line(reader, run, sum(sizes[run["run_id"]].values(), Size()), held=run["run_id"] in held)
        for run in runs
    ]
    table(out, rows, right=("iter.", "test greedy", "rows", "size"))


def fork_run(
    reader: LakeReader, run: str, name: str, first_step: str, overrides: tuple[str, ...]
) -> None:
    """Make a fork, and print what it took and how it goes on.

    Raises:
        RestEMError: see `plan_fork` and `fork`.
    """
    out = console()
    planned = plan_fork(reader, run, name, first_step, overrides)
    is_new = fork(planned, for_terminal().say)
    taken = f"{len(planned.seals)} sealed stages of run {run}"
    out.print(
        f"run {name}: took {taken}; {planned.first_step} is its first own"
        if is_new
        else f"run {name} is this fork already; nothing was done"
    )
    for line in planned.changes:
        out.print(f"  {line}", soft_wrap=True)
    changes = "".join(f" --set {item}" for item in overrides)
    out.print("go on with the configuration file of the run that was forked:")
    out.print(f"  restem run CONFIG --name {name}{changes}", soft_wrap=True)


def rename(reader: LakeReader, run: str, name: str) -> None:
    """Rename a run, and print what became of its folder.

    Raises:
        RestEMError: see `rename_run`.
    """
    out = console()
    if not rename_run(reader, run, name, for_terminal().say):
        out.print(f"run {run} has the name {name} already; nothing was done")
        return
    out.print(f"run {run} is now {name}: go on with restem run CONFIG --name {name}")
    out.print(f"its files under the old name stay until: restem vacuum --remove{_lake(reader)}")


def delete(reader: LakeReader, run: str, confirm: Callable[[], bool] | None) -> None:
    """Show what would go with a run, and delete it.

    Args:
        reader: the lake.
        run: the run.
        confirm: asks the user whether to go on; None if there is no need to ask.

    Raises:
        RestEMError: see `plan_deletion` and `delete_run`.
    """
    out = console()
    planned, say = plan_deletion(reader, run), for_terminal().say
    require_free(reader.location, run, say)  # before anybody is asked
    _show_deletion(out, planned)
    if confirm is not None and not confirm():
        raise ConfigError(f"run {run!r} was not deleted; --yes deletes it without a question")
    delete_run(planned, say)
    out.print(f"run {run} is deleted, and its name is free")
    out.print(
        "its files stay, and earlier versions of the tables with them, until: "
        f"restem vacuum --remove{_lake(reader)}",
        soft_wrap=True,
    )


def _line(reader: LakeReader, run: Row, size: Size, *, held: bool) -> Row:
    name = run["run_id"]
    best = reader.rows(
        "SELECT value FROM latest_evaluations WHERE suite = 'test' AND metric = 'greedy_accuracy'",
        name,
    )
    return {
        "run": name,
        "created": f"{run['created_at']:%Y-%m-%d}",
        **_progress(reader, name, held=held),
        "test greedy": f"{best[0]['value']:.3f}" if best else None,
        "rows": _short(size.rows),
        "size": _bytes(size.size),
    }


def _progress(reader: LakeReader, run: str, *, held: bool) -> Row:
    """A run's state, its iterations and its base model."""
    steps = steps_if_known(reader, run)
    if steps is None:
        return {"state": "of another version", "iter.": None, "base model": None}
    config = stored_config(reader, run)
    missing = missing_steps(steps, sealed_stages(reader, run))
    done = min((step.iteration for step in missing), default=config.num_iterations)
    state = f"{missing[0].stage.name}@{missing[0].iteration}" if missing else "finished"
    if run_state(reader.location, run).is_changing:
        state = "unfinished"
    return {
        "state": "at work" if held else state,
        "iter.": f"{done}/{config.num_iterations}",
        "base model": PurePath(config.model.base_model.removeprefix("embedded:")).name,
    }


def _show_deletion(out: Console, planned: Deletion) -> None:
    heading(out, f"To be deleted with run {planned.run}")
    rows = [
        {"table": name, "rows": size.rows, "size": _bytes(size.size)}
        for name, size in planned.tables.items()
    ]
    table(out, rows, right=("rows", "size"))
    whole = sum(planned.tables.values(), Size())
    out.print(f"{whole.rows:,} rows, {_bytes(whole.size)} in all", style="bold")
    folder = planned.folder
    if folder is not None and folder.is_here:
        out.print(f"folder {folder.path}: {_bytes(folder.size)}", soft_wrap=True)


def _lake(reader: LakeReader) -> str:
    return lake_arguments(reader.location)


def _bytes(size: int) -> str:
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}" if size < 10 * unit else f"{size / unit:.0f} {name}"
    return f"{size} B"


def _short(count: int) -> str:
    for unit, name in _COUNTS:
        if count >= unit:
            scale = 1e3 if name == "k" else unit
            return f"{count / scale:.0f}{name}"
    return f"{count:,}"
