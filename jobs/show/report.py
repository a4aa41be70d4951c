"""Print a run's report, and write it as text into the run's folder."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from jobs.show.console import console, heading, table_in_blocks
from pipelines.config import RunConfig
from pipelines.results.report import ReportRow, RunReport, describe_gain

_FILE = "report.txt"


def show_report(made: RunReport) -> None:
    """Print a report on standard output."""
    print_report(made, console())


def write_report(made: RunReport, config: RunConfig) -> Path:
    """Write the report as text into the run's folder; its path."""
    path = config.folder / _FILE
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        print_report(made, console(file))
    partial.replace(path)
    return path


def has_report(config: RunConfig) -> bool:
    """Whether the run's report was written, which is the last thing that a run does."""
    return (config.folder / _FILE).exists()


def discard_report(config: RunConfig) -> None:
    """Remove the run's report, if there is one: the run is not finished any more."""
    (config.folder / _FILE).unlink(missing_ok=True)


def print_report(made: RunReport, out: Console) -> None:
    """Print the tables, the gain, the plot's and pages' paths and the commands."""
    _section(out, f"{made.name}: policies by iteration (0 is the base model)", made.policies)
    _section(out, "Transfer suites by iteration", made.suites)
    if made.policies:
        out.print("\nAccuracies in % with their 95 % intervals over problems.", soft_wrap=True)
    _section(out, "Seconds per stage", made.seconds)
    out.print()
    if made.gain is not None:
        out.print(describe_gain(made.gain), soft_wrap=True)
    if made.killed is not None:
        out.print(made.killed, soft_wrap=True)
    if made.plot is not None:
        out.print(f"Picture: {made.plot}", soft_wrap=True)
    if made.pages is not None:
        out.print(f"Pages: {made.pages}", soft_wrap=True)
    heading(out, "Next:")
    for command in made.commands:
        # Soft wrap: a command that is cut by the terminal's width cannot be copied.
        out.print(f"  {command}", soft_wrap=True)


def _section(out: Console, title: str, rows: list[ReportRow]) -> None:
    if rows:
        heading(out, title)
        table_in_blocks(out, rows)
