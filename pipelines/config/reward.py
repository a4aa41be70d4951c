"""The reward."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pipelines.config.section import Section

BY_HAND = "by_hand"
"""The reward of a suite that people grade: its samples are drawn and get no row in `rewards`."""


class RewardConfig(Section):
    """r(x, y)."""

    function: str = "math_answer"
    """`math_answer`, `unit_tests`, `exact_match`, or `python:module:function` for your own; a
    suite's may be `by_hand`: its samples are drawn and kept, and wait for a person's marks."""
    options: dict[str, Any] = {}
    """Keyword arguments of the reward function (math_answer, exact_match: `extract`; unit_tests:
    `sandbox`, `challenge_tests`)."""
    timeout_seconds: float = Field(5.0, gt=0)
    """Longest time for one verdict; after it the worker is killed and the verdict is `timeout`."""
    memory_limit_mb: int = Field(2048, ge=256)
    """Address space of a worker; a solution that needs more gets the verdict `memory`."""
    max_checker_failures: float = Field(0.02, ge=0, le=1)
    """Largest share of samples whose checker may fail before the run stops."""
