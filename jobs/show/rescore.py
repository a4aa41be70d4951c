"""Score a run's stored samples again, and print the verdicts that changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from jobs.machine.quiet import engines_to_log, stderr_to_log
from jobs.machine.sessions import Sessions
from jobs.show.console import cell, console, heading, table
from pipelines.config import RunConfig
from pipelines.lake.lake import open_lake
from pipelines.lake.stored_run import stored_config
from pipelines.runs.check_context import ExpectationGate
from pipelines.runs.rescore import EXAMPLES, Rescored, Rescorer
from pipelines.runs.silent_listener import SilentListener
from pipelines.runs.trust import require_trust
from pipelines.runtime.progress import for_terminal
from pipelines.stage import StageContext

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.lake.query_results import Row
    from pipelines.lake.reader import LakeReader

_TAIL = 160
"""Characters of a solution's end that are shown: its answer stands there."""


def rescore(
    reader: LakeReader, run: str, own: RunConfig | None, *, dry_run: bool, trusted: bool
) -> None:
    """Rescore a run and print the changes per iteration.

    Args:
        reader: its lake.
        run: its name.
        own: the user's configuration, whose rewards are trusted and whose clusters are used.
        dry_run: only show what would change.
        trusted: whether to run code that only the lake names.

    Raises:
        RestEMError: there is no such run, its code is not trusted, or anything that
            `Rescorer.rescore` raises.
    """
    config = stored_config(reader, run)
    if not trusted:
        require_trust(config, own)
    if own is not None:
        config = config.model_copy(update={"spark": own.spark, "ray": own.ray})
    out = console()
    num_rescored = 0
    with _rescorer(reader, config) as rescorer:
        for done in rescorer.rescore(dry_run=dry_run):
            show_rescored(out, done)
            num_rescored += 1
    if not num_rescored:
        out.print(f"run {run}: every verdict is by the verifier's current version; nothing to do")
    elif dry_run:
        out.print("\nNothing was written: --dry-run.", style="bold")


@contextmanager
def _rescorer(reader: LakeReader, config: RunConfig) -> Iterator[Rescorer]:
    progress = for_terminal()
    logs = config.folder / "logs"
    with ExitStack() as stack:
        stack.enter_context(engines_to_log(logs))
        stack.enter_context(stderr_to_log(logs))
        sessions = stack.enter_context(Sessions(config))
        gate = ExpectationGate(config)
        listener = SilentListener(reader, config.name)
        lake = stack.enter_context(open_lake(config, sessions, gate, listener, progress))
        yield Rescorer(config, lake, StageContext(sessions, progress, config.folder))


def show_rescored(out: Console, done: Rescored) -> None:
    """Print one iteration's changes."""
    heading(out, f"Iteration {done.iteration}: {done.num_samples:,} samples")
    out.print(f"  verifier version {', '.join(done.versions_before)} -> {done.version}")
    now = "not written" if done.table_after is None else f"version {done.table_after}"
    out.print(f"  rewards version {done.table_before} -> {now}", style="dim")
    if not done.changes:
        out.print("  every verdict is the same")
    else:
        table(
            out,
            [
                {"verdict": c.before, "new verdict": c.after, "samples": c.count}
                for c in done.changes
            ],
        )
    for change in done.changes:
        out.print(f"\n  {change.before} -> {change.after}, {min(EXAMPLES, change.count)} of them:")
        for example in change.examples:
            _example(out, example)
    _training_set(out, done)


def _example(out: Console, row: Row) -> None:
    out.print(f"  sample {row['sample_id']}")
    out.print(f"    problem    {_start(row['question'])}")
    out.print(f"    solution   {_end(row['solution'])}")
    out.print(f"    reference  {_end(row['reference'])}")
    out.print(f"    extracted  {row['extracted_before']!r} -> {row['extracted_after']!r}")


def _training_set(out: Console, done: Rescored) -> None:
    change = done.training_set
    following = f"training set of iteration {done.iteration + 1}"
    if change is None:
        out.print(f"  {following}: none was selected from these samples")
        return
    if not (change.entering or change.leaving or change.reweighted):
        out.print(f"  {following}: its {change.kept:,} rows would be the same")
        return
    out.print(
        f"\n  {following}, {change.kept:,} rows: {len(change.entering):,} would enter, "
        f"{len(change.leaving):,} would leave, {change.reweighted:,} would stay with another reward"
    )
    _rows(out, "+", change.entering)
    _rows(out, "-", change.leaving)
    out.print(
        f"  It and policy {change.iteration} stay as they are, pinned to the verdicts that they were "
        "made from; a run under another name trains on the new ones.",
        style="dim",
    )


def _rows(out: Console, sign: str, rows: list[Row]) -> None:
    for row in rows[:EXAMPLES]:
        out.print(f"  {sign} {row['sample_id']}  {_end(row['solution'])}")
    if len(rows) > EXAMPLES:
        out.print(f"  {sign} ... {len(rows) - EXAMPLES:,} more")


def _start(text: str) -> str:
    text = cell(text)
    return text if len(text) <= _TAIL else f"{text[:_TAIL]}..."


def _end(text: str) -> str:
    text = cell(text)
    return text if len(text) <= _TAIL else f"...{text[-_TAIL:]}"
