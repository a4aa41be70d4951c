"""The base model."""

from __future__ import annotations

from pydantic import Field

from pipelines.config.section import Section

EMBEDDED_MODEL = "embedded:smollm2-135m-instruct"
"""The base model that ships in a Python package; see pipelines/tuning/base_model.py."""


class ModelConfig(Section):
    """The base model: what iteration 1 samples from and every M-step starts from."""

    base_model: str = EMBEDDED_MODEL
    """`embedded:smollm2-135m-instruct`, a checkpoint folder, or a hub id."""
    revision: str | None = None
    """The hub's revision; a folder has none."""
    max_model_len: int = Field(1024, ge=16)
    """Longest prompt plus solution, in tokens."""
    trust_remote_code: bool = False
