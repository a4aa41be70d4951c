"""Print what a run would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.machine.preflight import check_plan, pinned_to_contents
from jobs.show.console import console, heading, table
from pipelines.config.secret import without_credentials
from pipelines.config.sizes import Sizes, asked_sizes
from pipelines.config.suites import suite_sources
from pipelines.runs.plan import PlannedStage, plan
from pipelines.workload import Amount

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.config import RunConfig


def show_plan(config: RunConfig) -> None:
    """Print the stages of a run, and what was checked of it; nothing is written or started.

    Raises:
        RestEMError: a run would be refused.
    """
    warnings: list[str] = []
    config = pinned_to_contents(config)
    found = check_plan(config, warnings.append)
    out = console()
    stages, sizes = plan(config), asked_sizes(config)
    out.print(f"run {config.name} of {config.model.base_model}", style="bold")
    out.print(f"  tables and policies in {config.lake.uri}, logs in {config.folder}")
    out.print(f"  config hash {config.config_hash()}", style="dim")
    _problems(out, config, sizes)
    heading(out, "Stages")
    table(out, [_line(stage, sizes) for stage in stages])
    if found.machines:
        heading(out, "Machines")
        for line in found.machines:
            out.print(f"  {line}", soft_wrap=True)
    heading(out, "Checks")
    for line in warnings:
        out.print(f"  {line}", style="yellow", soft_wrap=True)
    for line in found.checks:
        out.print(f"  {line}", soft_wrap=True)
    _totals(out, stages, sizes)


def _problems(out: Console, config: RunConfig, sizes: Sizes) -> None:
    heading(out, "Problems")
    for source in config.problems.sources:
        out.print(f"  {source.kind} {without_credentials(source.location)}")
    for name, source in suite_sources(config):
        out.print(f"  suite {name}: {source.kind} {without_credentials(source.location)}")
    known = [f"{split} {'?' if n is None else f'{n:,}'}" for split, n in sizes.items()]
    out.print(f"  {', '.join(known)}")
    if None in sizes.values():
        out.print("  ?: known once the source is read; what depends on it is given as a formula")


def _line(stage: PlannedStage, sizes: Sizes) -> dict[str, object]:
    return {
        "iteration": stage.iteration,
        "stage": stage.stage,
        "table": stage.table,
        "rows": _amount(stage.rows, sizes).rjust(10),
        "tokens, at most": _amount(stage.tokens, sizes).rjust(15),
        "engine starts": stage.engine_starts or None,
        "commits": stage.commits,
    }


def _amount(amount: Amount | None, sizes: Sizes) -> str:
    if amount is None:
        return "-"
    most = "<= " if amount.at_most else ""
    return f"{most}{amount.formula(sizes)}"


def _totals(out: Console, stages: list[PlannedStage], sizes: Sizes) -> None:
    starts = sum(stage.engine_starts for stage in stages)
    drawn = [stage.tokens for stage in stages if stage.stage == "generate" and stage.tokens]
    totals = [amount.total(sizes) for amount in drawn]
    known = [total for total in totals if total is not None]
    sampled = f", at most {sum(known):,} tokens sampled" if len(known) == len(totals) else ""
    out.print(
        f"\n{len(stages)} stages, {starts} engine starts{sampled}. Nothing was run.",
        style="bold",
    )
