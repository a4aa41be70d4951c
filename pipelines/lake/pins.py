"""Which version of `rewards` a sealed stage read, where the verdicts were made again since."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.lake.answers import quoted

Query = Callable[[str, str | None], list[dict[str, Any]]]
"""A query and the run it is restricted to -> its rows."""


@dataclass(frozen=True)
class Pin:
    """A run and iteration whose verdicts have another version now."""

    run_id: str
    iteration: int
    version: int

    @property
    def where(self) -> str:
        """The condition on rows of `rewards`."""
        return f"run_id = {quoted(self.run_id)} AND iteration = {self.iteration}"


def rescored_since(query: Query, stage: str, run: str | None) -> list[Pin]:
    """The verdicts that were made again since the stage read them, at the version that it read.

    Args:
        query: reads the lake.
        stage: a stage that reads `rewards`.
        run: of this run only; all runs if None.
    """
    newest = {
        (row["run_id"], row["iteration"]): row["version"]
        for row in query(
            "SELECT run_id, iteration, max(version) AS version FROM stages WHERE stage = 'score' "
            "GROUP BY run_id, iteration HAVING max(attempt) > 1",
            run,
        )
    }
    if not newest:
        return []
    seals = query(f"SELECT run_id, inputs FROM stages WHERE stage = {quoted(stage)}", run)
    read = [
        Pin(seal["run_id"], item["iteration"], item["version"])
        for seal in seals
        for item in json.loads(seal["inputs"])
        if item["table"] == "rewards"
    ]
    return [pin for pin in read if newest.get((pin.run_id, pin.iteration), -1) > pin.version]
