"""Which rewarded samples make up D_i."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.config.section import Section


class CurateConfig(Section):
    """Which rewarded samples make up D_i."""

    threshold: float = 0.0
    """Keep a sample if its reward is greater."""
    distinct: Literal["none", "text", "normalized_text"] = "normalized_text"
    """Keep one of several equal solutions of a problem; normalized: white space and case folded."""
    cutoff: int = Field(10, ge=1)
    """At most so many solutions a problem (the paper's section 5: 10)."""
    max_rows: int | None = Field(None, ge=1)
    """Balance: at most so many rows, taken round-robin over problems, rarest-solved first."""
    weight: Literal["identity", "exponential"] = "identity"
    """f(r): identity weighs by the reward; exponential by exp(r / beta) (RWR)."""
    beta: float = Field(1.0, gt=0)
