"""The verdict of a reward function on a solution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.rewards import VERDICTS


@dataclass(frozen=True)
class Verdict:
    """The reward of a solution, and why.

    `reward` is r(x, y) of the paper: 1 or 0 for a checked answer, any real number for a user's
    own function. `verdict` is one of `schemas.rewards.VERDICTS`; a checker that fails says so there
    (`timeout`, `parse_error`, ...) and its reward is 0.
    """

    reward: float
    verdict: str
    extracted: str | None = None
    detail: str | None = None
    """What failed in the checker."""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {', '.join(VERDICTS)}, got {self.verdict!r}")


RewardFunction = Callable[[str, str], Verdict]
"""`reward(solution, reference) -> Verdict`; pure: no files, network or state."""
