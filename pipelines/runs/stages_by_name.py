"""Some stages of a run as a job of their own.

For clusters on which the relational stages are submitted to Spark (`spark-submit`) and the others to
Ray (`ray job submit`). Their inputs must be sealed.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.config import RunConfig
from pipelines.errors import ConfigError, LakeError
from pipelines.lake.lake import Lake
from pipelines.lake.snapshot import TableSnapshot
from pipelines.runs.steps import Step, all_stage_names, steps_of


def named_steps(names: str, iteration: int, config: RunConfig) -> list[Step]:
    """The steps that are named, in the order of the loop.

    Args:
        names: stage names separated by commas, each with an iteration of its own if it is not
            `iteration`: `evaluate,select@1,curate@1`.
        iteration: that of the names without one.
        config: the run's.

    Raises:
        ConfigError: the run has no such stage in that iteration.
    """
    steps = steps_of(config)
    wanted = {_key(name.strip(), iteration, steps) for name in names.split(",")}
    return [step for step in steps if step.key in wanted]


def _key(text: str, iteration: int, steps: Sequence[Step]) -> tuple[int, str]:
    name, has_own, own = text.partition("@")
    known = all_stage_names()
    if name not in known:
        raise ConfigError(f"stage must be one of {', '.join(known)}, got {name!r}")
    if has_own and not own.isdecimal():
        raise ConfigError(f"stage {text!r}: after @ comes an iteration, such as {name}@1")
    key = (int(own) if has_own else iteration, name)
    if key not in [step.key for step in steps]:
        having = ", ".join(str(step.iteration) for step in steps if step.stage.name == name)
        there = f"it has it in {having}" if having else "its file asks for none"
        raise ConfigError(f"the run has no stage {name!r} in iteration {key[0]}; {there}")
    return key


def run_steps(lake: Lake, steps: Sequence[Step]) -> None:
    """Make the tables of some steps; those that are sealed already are left alone.

    Raises:
        LakeError: a step that they need, directly or not, is not sealed.
    """
    _require_inputs(lake, steps)
    made: dict[tuple[int, str], TableSnapshot] = {}
    for step in steps:
        inputs = [made.get(source.key) or sealed_snapshot(lake, source) for source in step.inputs]
        made[step.key] = lake.materialize(step.stage, step.iteration, *inputs)


def _require_inputs(lake: Lake, steps: Sequence[Step]) -> None:
    for step in steps:
        for source in step.ancestors():
            if source not in steps and not lake.is_made(source.stage, source.iteration):
                raise LakeError(
                    f"stage {step.stage.name!r} of iteration {step.iteration} needs stage "
                    f"{source.stage.name!r} of iteration {source.iteration} first; run that, or "
                    "`restem run` for all"
                )


def sealed_snapshot(lake: Lake, step: Step) -> TableSnapshot:
    """The table that a sealed step has made."""
    snapshot = lake.sealed(step.stage.table, *step.key)
    assert snapshot is not None, f"{step.key} was found sealed"
    return snapshot
