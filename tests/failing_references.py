"""The problems whose own answer fails, for tests of rewards and of data sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.config import RewardConfig
from pipelines.rewards.references import own_answers


def failing_references(
    config: RewardConfig, problems: Iterable[Mapping[str, Any]], num_workers: int
) -> list[Mapping[str, Any]]:
    """Those of the rows, with `reference` and `solution`, whose own answer the reward refuses."""
    rows = list(problems)
    own = [row.get("solution") for row in rows]
    asked = [
        (row["reference"], [] if solution is None else [solution])
        for row, solution in zip(rows, own, strict=True)
    ]
    found = own_answers(config, asked, num_workers)
    return [row for row, answer in zip(rows, found, strict=True) if answer.refused is not None]
