"""How the engine and the training run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pipelines.config.section import Section


class EngineConfig(Section):
    """The inference engine. Decides speed, not rows."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 where the processor or GPU computes it natively, else float32."""
    replicas: int = Field(1, ge=1)
    tensor_parallel: int = Field(1, ge=1)
    max_num_seqs: int = Field(256, ge=1)
    block_size: int | None = None
    """KV cache block, in tokens; null: 32 on a CPU, the engine's own choice elsewhere."""
    kv_cache_gib: float = Field(2.0, gt=0)
    """KV cache on a CPU; a GPU uses gpu_memory_utilization."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    chunk_prompts: int = Field(32, ge=1)
    """Prompts with an engine at once, committed in two halves: what is drawn again after a kill."""
    max_restarts: int = Field(2, ge=0)
    """Times a dead engine is started again before the run stops."""
    extra: dict[str, Any] = {}
    """Further arguments of vLLM's engine, passed on as they are."""

    @property
    def prompts_per_commit(self) -> int:
        """Prompts whose samples are one file: half a chunk, the other half is with the engine."""
        return max(1, self.chunk_prompts // 2)


class TrainingConfig(Section):
    """Where the M-step runs. Decides speed, not the result (to rounding)."""

    launcher: Literal["torchrun", "ray"] = "torchrun"
    num_workers: int = Field(1, ge=1)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of matrix products (weights and optimizer stay float32)."""
    rows_per_pass: int = Field(16, ge=1)
    """Rows a worker computes at once; a batch is several passes."""
