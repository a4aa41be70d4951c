"""A whole run made by the lake from literal rows: real commits, seals and checks, no engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.config import RunConfig
from pipelines.lake.lake import Lake, open_lake
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.lake.snapshot import TableSnapshot
from pipelines.runs.steps import StageKey, Step, steps_of
from pipelines.runtime.progress import SilentProgress
from pipelines.stage import ArrowStage
from tests import lake_fixture
from tests.doubles import FakeEngines, OneRuleGate, QuietListener
from tests.factories import arrow

RUN = "first"
_ROWS = lake_fixture.run_rows(RUN)


def config(folder: Path, name: str = RUN, **changes: Any) -> RunConfig:
    """The run's configuration, in a lake below `folder`."""
    tree = lake_fixture.config(RUN).model_dump(mode="json")
    tree |= {
        "name": name,
        "output": str(folder / "data"),
        "lake": {"uri": str(folder / "lake")},
        "mlflow": {"enabled": False},
    }
    for section, settings in changes.items():
        tree[section] = {**tree[section], **settings} if isinstance(settings, dict) else settings
    return RunConfig.model_validate(tree)


def reader_of(folder: Path) -> LakeReader:
    """The lake below `folder`."""
    return LakeReader(Location(str(folder / "lake")))


@contextmanager
def opened(settings: RunConfig) -> Iterator[Lake]:
    """The run, open for writing."""
    gate, progress = OneRuleGate({"samples": "solution"}, "bad"), SilentProgress()
    with open_lake(settings, FakeEngines(), gate, QuietListener(), progress) as lake:
        yield lake


def make(settings: RunConfig, last: StageKey | None = None) -> list[StageKey]:
    """Go on with a run to its end, or up to a step; the steps that were made, not found sealed."""
    made: list[StageKey] = []
    snapshots: dict[int, TableSnapshot] = {}
    with opened(settings) as lake:
        for step in steps_of(settings):
            inputs = [snapshots[item.position] for item in step.inputs]
            if not lake.is_made(step.stage, step.iteration):
                made.append(step.key)
            snapshots[step.position] = lake.materialize(literal_of(step), step.iteration, *inputs)
            if step.key == last:
                break
    return made


def literal_of(step: Step, rows: pa.Table | None = None) -> ArrowStage:
    """A step of the loop that makes given rows, those of `lake_fixture` if None."""
    own = [row for row in _ROWS[step.stage.table.name] if row["iteration"] == step.iteration]
    made = arrow(step.stage.table, *own).drop_columns(["run_id", "iteration"])
    return ArrowStage(
        name=step.stage.name,
        table=step.stage.table,
        reads=step.stage.reads,
        covers=step.stage.covers,
        function=lambda *_: made if rows is None else rows,
    )
