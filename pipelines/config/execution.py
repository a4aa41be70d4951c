"""Sections `engine` and `training`: how fast samples are drawn and policies are trained."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipelines.config.secret import refuse_credentials
from pipelines.config.section import Section


class EngineConfig(Section):
    """The inference engine, vLLM. Decides speed, not rows."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 if the CPU or GPU computes it natively, else float32 (float16 on a GPU)."""
    replicas: int = Field(1, ge=1)
    """Number of engines."""
    tensor_parallel: int = Field(1, ge=1)
    """Number of GPUs per engine."""
    max_num_seqs: int = Field(256, ge=1)
    """Maximum number of solutions an engine generates at the same time."""
    block_size: int | None = None
    """Tokens per block of the KV cache; null: 32 on a CPU, vLLM's default on a GPU."""
    kv_cache_gib: float = Field(2.0, gt=0)
    """Size of the KV cache on a CPU."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of a GPU's memory that the engine takes, KV cache included."""
    chunk_prompts: int = Field(32, ge=1)
    """Prompts an engine works on at the same time, committed in two halves.

    If the run is killed, at most this many prompts per engine are drawn again.
    """
    max_restarts: int = Field(2, ge=0)
    """Maximum number of times an engine that died is started again."""
    extra: dict[str, Any] = {}
    """Further arguments of vLLM's engine; they replace the ones above. vLLM logs them."""

    @model_validator(mode="after")
    def _has_no_credentials(self) -> Self:
        refuse_credentials("extra", self.extra)
        return self

    @property
    def prompts_per_commit(self) -> int:
        """Prompts whose samples are committed together: the engine works on the other half."""
        return max(1, self.chunk_prompts // 2)


class TrainingConfig(Section):
    """Where the M-step runs. Decides speed, not the result (up to rounding)."""

    launcher: Literal["torchrun", "ray"] = "torchrun"
    """torchrun: processes on the driver's machine; ray: Ray Train workers on the cluster."""
    num_workers: int = Field(1, ge=1)
    """Number of data-parallel training processes."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of matrix products; weights and optimizer state are float32.

    auto: bfloat16 if the CPU or GPU computes it natively, else float32.
    """
    rows_per_pass: int = Field(16, ge=1)
    """Maximum number of rows per forward pass of a worker; less takes less memory."""
