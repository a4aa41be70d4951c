"""Section `improve`: the M-step."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.config.section import Section


class ImproveConfig(Section):
    """Improve (M-step): reward-weighted fine-tuning on D_i, with AdamW."""

    first_stage = "improve"

    start_from: Literal["base", "previous"] = "base"
    """Model that is fine-tuned: the base model (the paper's section 3), or the previous policy."""
    learning_rate: float = Field(1e-5, gt=0)
    """Peak learning rate: linear warm-up, then linear decay to 0 at `max_epochs`."""
    later_learning_rate_factor: float = Field(1.0, gt=0)
    """Factor of the learning rate in the further M-steps on the samples of one E-step."""
    batch_size: int = Field(16, ge=1)
    """Rows per optimizer step, over all workers."""
    max_epochs: int = Field(3, ge=1)
    patience: int = Field(1, ge=1)
    """Stop after this many epochs without a better reward on D_val (the paper's Algorithm 1)."""
    warmup_ratio: float = Field(0.1, ge=0, le=1)
    """Share of the optimizer steps of `max_epochs` that warm up."""
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients with a greater norm are scaled down to it."""
    keep: Literal["best", "last"] = "best"
    """Epoch that becomes the next policy: the one with the best reward on D_val, or the last."""
