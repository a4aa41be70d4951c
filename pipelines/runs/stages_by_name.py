"""Named stages of a run by themselves: the same loop, stopped after the last that was asked for.

For clusters where stages are jobs of their own (`spark-submit` for the relational ones, `ray job
submit` for the others). What they need is whatever the loop would have made before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.config import RunConfig
from pipelines.errors import ConfigError, LakeError
from pipelines.lake.lake import Lake
from pipelines.lake.snapshot import TableSnapshot
from pipelines.rest_em import rest_em
from pipelines.runs.plan import plan
from pipelines.stage import STAGE_NAMES, Stage
from pipelines.stages.binding import Stages
from schemas import CONTAMINATION, EVALUATIONS
from schemas.table import Table

SPARK_STAGES = frozenset({"ingest", "contamination", "render", "evaluate", "select", "curate"})

StageOf = tuple[int, str]
"""(iteration, stage)."""


def named_stages(names: str, iteration: int, config: RunConfig) -> list[StageOf]:
    """Read which stages are meant, and put them in the loop's order.

    Args:
        names: stages with commas between them; one may say its own iteration, as in
            `evaluate,select@1,curate@1`.
        iteration: that of the names that say none.
        config: the run whose stages they are.

    Raises:
        ConfigError: the run has no such stage in that iteration.
    """
    stages = [(planned.iteration, planned.stage) for planned in plan(config)]
    wanted = {_stage_of(name.strip(), iteration, stages) for name in names.split(",")}
    return [stage for stage in stages if stage in wanted]


def _stage_of(text: str, iteration: int, stages: Sequence[StageOf]) -> StageOf:
    name, has_own, own = text.partition("@")
    if name not in STAGE_NAMES:
        raise ConfigError(f"stage must be one of {', '.join(STAGE_NAMES)}, got {name!r}")
    if has_own and not own.isdecimal():
        raise ConfigError(f"stage {text!r}: after @ comes an iteration, such as {name}@1")
    stage = (int(own) if has_own else iteration, name)
    if stage not in stages:
        having = ", ".join(str(t) for t, other in stages if other == name)
        there = f"it has it in {having}" if having else "its file asks for none"
        raise ConfigError(f"the run has no stage {name!r} in iteration {stage[0]}; {there}")
    return stage


def run_named_stages(
    lake: Lake, stages: Stages, wanted: Sequence[StageOf], num_iterations: int
) -> None:
    """Make the tables of the wanted stages, in the loop's order; what is sealed is left alone.

    Raises:
        LakeError: another stage that they need is not sealed.
    """
    door = _LakeOfSome(lake, list(wanted))
    try:
        rest_em(door, stages, num_iterations)
    except _Done:
        return


class _Done(Exception):
    """Ends the loop after the last stage that was asked for."""


@dataclass
class _LakeOfSome:
    """A lake that makes the tables of the wanted stages and only looks up the others."""

    lake: Lake
    wanted: list[StageOf]
    """Those still to be made."""

    def materialize(
        self, table: Table, iteration: int, stage: Stage, *inputs: TableSnapshot
    ) -> TableSnapshot:
        """As Lake.materialize, for the wanted stages.

        Raises:
            LakeError: another stage would have to be made first.
        """
        if (iteration, stage.name) in self.wanted:
            made = self.lake.materialize(table, iteration, stage, *inputs)
            self.wanted.remove((iteration, stage.name))
            if not self.wanted:
                raise _Done
            return made
        found = self.lake.sealed(table, iteration, stage.name)
        if found is None and table in (EVALUATIONS, CONTAMINATION):
            return self.lake.unmade(table, iteration)  # Nothing is made from it.
        if found is None:
            their_iteration, name = self.wanted[0]
            raise LakeError(
                f"stage {name!r} of iteration {their_iteration} needs stage {stage.name!r} "
                f"of iteration {iteration} first; run that, or `restem run` for all"
            )
        return found
