"""The version of `rewards` that a sealed stage read, where a rescoring has replaced it since."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.lake.query_results import Row
from pipelines.lake.sql_text import sql_equals, sql_literal

Query = Callable[[str, str | None], list[Row]]
"""A query and the run it is restricted to -> its rows."""


@dataclass(frozen=True)
class SupersededRewards:
    """The version at which a stage read the verdicts of a run and iteration."""

    run_id: str
    iteration: int
    version: int

    @property
    def where(self) -> str:
        """The condition on rows of `rewards`."""
        return sql_equals(run_id=self.run_id, iteration=self.iteration)


def superseded_rewards(query: Query, stage: str, run: str | None) -> list[SupersededRewards]:
    """The verdicts that a stage read and that have been replaced since.

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
    seals = query(f"SELECT run_id, inputs FROM stages WHERE stage = {sql_literal(stage)}", run)
    read = [
        SupersededRewards(seal["run_id"], item["iteration"], item["version"])
        for seal in seals
        for item in json.loads(seal["inputs"])
        if item["table"] == "rewards"
    ]
    return [item for item in read if newest.get((item.run_id, item.iteration), -1) > item.version]
