"""Section `reward`: how a solution is scored."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from pipelines.config.secret import refuse_credentials
from pipelines.config.section import Section

BY_HAND = "by_hand"
"""`reward.function` of a suite that people grade: its samples get no row in `rewards`."""


class RewardConfig(Section):
    """The reward r(x, y) of a solution y of a problem x."""

    first_stage = "score"

    function: str = "math_answer"
    """`math_answer`, `unit_tests`, `exact_match`, or `python:module:function` for your own.

    A suite's may be `by_hand`: its samples are drawn, and marked by people later.
    """
    options: dict[str, Any] = {}
    """Keyword arguments of the function.

    math_answer and exact_match: `extract`; unit_tests: `sandbox`, `challenge_tests`.
    """
    timeout_seconds: float = Field(5.0, gt=0)
    """Maximum time per solution; the verdict is `timeout` after it."""
    memory_limit_mb: int = Field(2048, ge=256)
    """Maximum address space per worker; the verdict is `memory` above it."""
    max_checker_failures: float = Field(0.02, ge=0, le=1)
    """Maximum share of samples on which the reward function itself may fail.

    The run stops above it.
    """

    @property
    def tolerances(self) -> tuple[str, ...]:
        """The settings that may change under a run's name: no verdict on a solution depends on them.

        A checker that exceeds a limit failed, and its verdict is no judgement of the solution. A
        program that exceeds one (`unit_tests`) is wrong for it, so there the limits decide rewards.
        """
        if self.function == "unit_tests":
            return ("max_checker_failures",)
        return ("max_checker_failures", "timeout_seconds", "memory_limit_mb")

    @model_validator(mode="after")
    def _has_no_credentials(self) -> Self:
        refuse_credentials("options", self.options)
        return self
