"""The steps of a run, recorded by running the loop itself: nothing is read, opened or started.

`plan`, `status`, `stage NAMES` and the command's help take the stages from here, so that a stage
added to the loop appears in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.config import ContaminationConfig, ProblemsConfig, RunConfig, SourceConfig
from pipelines.rest_em import rest_em
from pipelines.stage import Engine, Stage
from pipelines.stages.binding import Stages

StageKey = tuple[int, str]
"""(iteration, stage name)."""


@dataclass(frozen=True, eq=False)
class Step:
    """One stage of one iteration, and the steps that make its inputs."""

    position: int
    """In the order of the loop, from 0."""
    stage: Stage
    iteration: int
    inputs: tuple[Step, ...]

    @property
    def key(self) -> StageKey:
        """Iteration and stage name: what a seal names."""
        return self.iteration, self.stage.name

    def ancestors(self) -> list[Step]:
        """The steps that this one needs, directly or not, in the order of the loop."""
        found: dict[int, Step] = {}
        pending = list(self.inputs)
        while pending:
            step = pending.pop()
            if step.position not in found:
                found[step.position] = step
                pending += step.inputs
        return [found[position] for position in sorted(found)]


def steps_of(config: RunConfig) -> list[Step]:
    """The steps of a run, in the order of the loop."""
    recorder = _Recorder()
    rest_em(recorder, Stages(config), config.num_iterations)
    return recorder.steps


def stage_names(steps: Sequence[Step]) -> list[str]:
    """The names of the stages, in the order in which they first run."""
    return list(dict.fromkeys(step.stage.name for step in steps))


def all_stage_names() -> list[str]:
    """The names of all stages that a run can have, its optional ones included."""
    problems = ProblemsConfig(
        sources=(SourceConfig(kind="generator", location="any:problems"),),
        contamination=ContaminationConfig(),
    )
    return stage_names(steps_of(RunConfig(name="any", problems=problems)))


def timed_stages(config: RunConfig) -> list[str]:
    """The names of the stages whose seconds are worth a column: those that an engine computes."""
    return stage_names([s for s in steps_of(config) if s.stage.engine is not Engine.DRIVER])


@dataclass
class _Recorder:
    """Records the steps that the loop asks for, and makes nothing."""

    steps: list[Step] = field(default_factory=list)

    def materialize(self, stage: Stage, iteration: int, *inputs: Step) -> Step:
        step = Step(len(self.steps), stage, iteration, inputs)
        self.steps.append(step)
        return step
