"""The M-step."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.config.section import Section


class ImproveConfig(Section):
    """Improve (M-step): reward-weighted fine-tuning, from the base model."""

    start_from: Literal["base", "previous"] = "base"
    learning_rate: float = Field(1e-5, gt=0)
    batch_size: int = Field(16, ge=1)
    """Rows an optimizer step, over all workers."""
    max_epochs: int = Field(3, ge=1)
    patience: int = Field(1, ge=1)
    """Stop after so many epochs without a better reward on D_val."""
    warmup_ratio: float = Field(0.1, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    keep: Literal["best", "last"] = "best"
    """Epoch handed on: the best on D_val (the paper), or the last."""
