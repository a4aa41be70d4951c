from __future__ import annotations

from typing import Any

import pytest

from pipelines.config import RunConfig
from pipelines.errors import ConfigError
from pipelines.runs.trust import require_trust

SOURCE = {"kind": "jsonl", "location": "x.jsonl"}
MOVES_FILES = {"function": "python:os:rename"}
UNCONFINED = {"function": "unit_tests", "options": {"sandbox": "none"}}


def config(reward: dict[str, Any], suite_reward: dict[str, Any] | None = None) -> RunConfig:
    suite = {"name": "other", "source": SOURCE, "reward": suite_reward}
    return RunConfig.model_validate(
        {
            "name": "r",
            "problems": {"sources": [SOURCE]},
            "reward": reward,
            "evaluation": {"suites": [suite]},
        }
    )


@pytest.mark.parametrize("function", ["math_answer", "exact_match", "unit_tests"])
def test_built_in_rewards_are_trusted(function: str) -> None:
    require_trust(config({"function": function}))
    require_trust(config({}, {"function": "by_hand"}))


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (config(MOVES_FILES), "reward: function python:os:rename"),
        (config({}, MOVES_FILES), "reward of suite other: function python:os:rename"),
        (config(UNCONFINED), "reward: unit_tests with sandbox none"),
        (config({}, UNCONFINED), "reward of suite other: unit_tests with sandbox none"),
    ],
)
def test_other_code_is_refused_and_named(stored: RunConfig, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        require_trust(stored)
    assert says in str(raised.value)
    assert "--trust" in str(raised.value)
    require_trust(stored, own=stored)
    for other in (config({"function": "python:os:remove"}), config({})):
        with pytest.raises(ConfigError):
            require_trust(stored, own=other)
