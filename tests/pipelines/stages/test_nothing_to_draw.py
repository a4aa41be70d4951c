"""A generate stage whose prompts are all answered starts nothing."""

from __future__ import annotations

import pyarrow as pa

from pipelines.config import RunConfig
from pipelines.stage import WrittenFile
from pipelines.stages.generate import generate
from tests.doubles import Rows, context, policies
from tests.pipelines.sampling.prompts import committed_table, prompt, prompt_table


class NoWriter:
    def write(self, rows: pa.Table) -> WrittenFile:
        raise AssertionError("there is nothing to write")


def test_ray_is_not_started_where_every_prompt_is_answered() -> None:
    source = {"kind": "jsonl", "location": "x.jsonl"}
    config = RunConfig.model_validate({"name": "r", "problems": {"sources": [source]}})
    drawn = generate(config, 0).function(
        context(),
        Rows(prompt_table(prompt("a"), prompt("b"))),
        policies(),
        committed=Rows(committed_table("a", "b")),
        writer=NoWriter(),
    )
    assert list(drawn) == []
