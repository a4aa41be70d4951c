"""What a run would do, from its configuration alone: nothing is read, opened or started."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.config import RunConfig
from pipelines.config.sizes import asked_sizes
from pipelines.runs.steps import steps_of
from pipelines.workload import Amount


@dataclass(frozen=True)
class PlannedStage:
    """A stage that a run would make."""

    iteration: int
    stage: str
    table: str
    rows: Amount | None
    """None: not proportional to problems (a policy, metrics)."""
    tokens: Amount | None
    """Maximum tokens sampled (generate, D_val in improve) or labelled in training."""
    engine_starts: int
    commits: int | None
    """Commits of rows to the stage's table; None if the number of problems is not known."""


def plan(config: RunConfig) -> list[PlannedStage]:
    """The stages of a run with their rows, tokens, engine starts and commits."""
    sizes = asked_sizes(config)
    return [
        PlannedStage(
            step.iteration,
            step.stage.name,
            step.stage.table.name,
            step.stage.workload.rows,
            step.stage.workload.tokens,
            step.stage.workload.engine_starts,
            step.stage.workload.commits(sizes),
        )
        for step in steps_of(config)
    ]
