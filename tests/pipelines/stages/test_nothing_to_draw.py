"""A generate stage that has nothing to draw, or must not, starts nothing."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipelines.config import RunConfig
from pipelines.errors import LakeError
from pipelines.stage import WrittenFile
from pipelines.stages.generate import generate
from tests.doubles import Rows, context, policies
from tests.pipelines.sampling.prompts import committed_table, prompt, prompt_table


class NoWriter:
    def write(self, rows: pa.Table) -> WrittenFile:
        raise AssertionError("there is nothing to write")


def draw(policy_id: str, *committed: str) -> list[list[WrittenFile]]:
    source = {"kind": "jsonl", "location": "x.jsonl"}
    config = RunConfig.model_validate({"name": "r", "problems": {"sources": [source]}})
    drawn = generate(config, 0).function(
        context(),
        Rows(prompt_table(prompt("a"), prompt("b"))),
        policies(policy_id),
        committed=Rows(committed_table(*committed)),
        writer=NoWriter(),
    )
    return list(drawn)


def test_ray_is_not_started_where_every_prompt_is_answered() -> None:
    assert draw("policy", "a", "b") == []
    assert draw("another policy", "a", "b") == []


def test_samples_of_one_policy_are_not_added_to_those_of_another() -> None:
    with pytest.raises(
        LakeError, match=r"drawn by policy policy, .* trained again as other"
    ) as caught:
        draw("other", "a")
    assert "\n" not in str(caught.value)
    assert "--name" in str(caught.value)
