"""A generate stage whose prompts are all answered starts nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from pipelines.config import RunConfig
from pipelines.runtime.progress import SilentProgress
from pipelines.stage import WrittenFile
from pipelines.stages.generate import generate
from pipelines.tuning.checkpoint import PolicyRef
from tests.pipelines.sampling.prompts import committed_table, prompt, prompt_table


@dataclass(frozen=True)
class Rows:
    """A snapshot of rows in memory."""

    rows: pa.Table
    iteration: int = 0
    version: int = 0

    def arrow(self, columns: list[str] | None = None, where: str | None = None) -> pa.Table:
        return self.rows.select(columns) if columns else self.rows

    def count(self, where: str | None = None) -> int:
        return int(self.rows.num_rows)


class NoWriter:
    def write(self, rows: pa.Table) -> WrittenFile:
        raise AssertionError("there is nothing to write")


def test_ray_is_not_started_where_every_prompt_is_answered() -> None:
    def start_ray() -> None:
        raise AssertionError("there is nothing to draw")

    source = {"kind": "jsonl", "location": "x.jsonl"}
    config = RunConfig.model_validate({"name": "r", "problems": {"sources": [source]}})
    stage = generate(config, PolicyRef("policy", ""), SilentProgress(), start_ray)
    drawn = stage.function(
        Rows(prompt_table(prompt("a"), prompt("b"))),
        committed=Rows(committed_table("a", "b")),
        writer=NoWriter(),
    )
    assert list(drawn) == []
