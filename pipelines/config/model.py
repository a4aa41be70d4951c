"""Section `model`: the base model."""

from __future__ import annotations

from pydantic import Field

from pipelines.config.section import Section

EMBEDDED_MODEL = "embedded:smollm2-135m-instruct"
"""The base model that comes in a Python package; see pipelines/checkpoints/embedded_model.py."""


WEIGHTS, COMMIT = "weights:", "commit:"
"""What a model's content is a hash of."""


class ModelConfig(Section):
    """The base model: the first policy, and what `improve.start_from: base` fine-tunes."""

    first_stage = "base_policy"
    first_stage_of = {"max_model_len": "generate"}

    base_model: str = EMBEDDED_MODEL
    """`embedded:smollm2-135m-instruct`, a checkpoint folder, or a hub id."""
    revision: str | None = None
    """Revision on the hub; null: the newest."""
    content: str | None = None
    """Hash of a folder's weights, or the commit of a hub id, filled in when a run starts.

    The run is pinned to it: a folder may be moved, and a branch of the hub that moves changes nothing.
    """
    max_model_len: int = Field(1024, ge=16)
    """Maximum number of tokens of prompt plus solution."""
    trust_remote_code: bool = False
    """Run Python code that comes with the checkpoint."""
