"""One stage of a run by itself: the same loop, stopped after the stage that was asked for.

For clusters where each stage is a job of its own (`spark-submit` for the relational ones, `ray job
submit` for the others). What a stage needs is whatever the loop would have made before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.errors import ConfigError, LakeError
from pipelines.lake.lake import Lake
from pipelines.lake.snapshot import TableSnapshot
from pipelines.rest_em import rest_em
from pipelines.stage import STAGE_NAMES, Stage
from pipelines.stages import Stages
from schemas import CONTAMINATION, EVALUATIONS
from schemas.table import Table

SPARK_STAGES = ("ingest", "contamination", "render", "evaluate", "select", "curate")


class _Done(Exception):
    """Ends the loop after the stage that was asked for."""


@dataclass
class _OneStageLake:
    """A lake that makes one stage's table and only looks up the others."""

    lake: Lake
    stage: str
    iteration: int

    def materialize(
        self, table: Table, iteration: int, stage: Stage, *inputs: TableSnapshot
    ) -> TableSnapshot:
        """As Lake.materialize, for the one stage.

        Raises:
            LakeError: another stage would have to be made first.
        """
        if (iteration, stage.name) == (self.iteration, self.stage):
            self.lake.materialize(table, iteration, stage, *inputs)
            raise _Done
        found = self.lake.sealed(table, iteration, stage.name)
        if found is None and table in (EVALUATIONS, CONTAMINATION):
            return self.lake.unmade(table, iteration)  # Nothing is made from it.
        if found is None:
            raise LakeError(
                f"stage {self.stage!r} of iteration {self.iteration} needs stage {stage.name!r} "
                f"of iteration {iteration} first; run that, or `restem run` for all"
            )
        return found


def run_one_stage(
    lake: Lake, stages: Stages, stage: str, iteration: int, num_iterations: int
) -> None:
    """Make one stage's table; nothing is done if it is sealed.

    Raises:
        ConfigError: there is no such stage in that iteration.
        LakeError: a stage before it is not sealed.
    """
    if stage not in STAGE_NAMES:
        raise ConfigError(f"stage must be one of {', '.join(STAGE_NAMES)}, got {stage!r}")
    door = _OneStageLake(lake, stage, iteration)
    try:
        rest_em(door, stages, num_iterations)
    except _Done:
        return
    raise ConfigError(
        f"--iteration: the run has no stage {stage!r} in iteration {iteration}; it has iterations "
        f"0 to {num_iterations}"
    )
