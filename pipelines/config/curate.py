"""Section `curate`: which rewarded samples become the training set D_i."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.config.section import Section


class CurateConfig(Section):
    """Which rewarded samples become the training set D_i."""

    first_stage = "select"
    first_stage_of = {"weight": "curate", "beta": "curate"}

    threshold: float = 0.0
    """Keep a sample if its reward is greater than this."""
    distinct: Literal["none", "text", "normalized_text"] = "normalized_text"
    """Which solutions of one problem are equal, so that only one of them is kept.

    none: no two; text: the same text; normalized_text: the same text, white space and case aside.
    """
    cutoff: int = Field(10, ge=1)
    """Maximum number of solutions kept per problem (the paper's section 5: 10)."""
    max_rows: int | None = Field(None, ge=1)
    """Maximum number of rows of D_i; null: no limit.

    One solution per problem is taken, then a second, and so on; problems solved least often first.
    """
    weight: Literal["identity", "exponential"] = "identity"
    """Weight of a row in the loss: its reward r, or exp(r / beta) (reward-weighted regression)."""
    beta: float = Field(1.0, gt=0)
    """Temperature of the exponential weight."""
