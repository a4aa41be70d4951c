"""Sections `engine` and `training`: how fast samples are drawn and policies are trained."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipelines.config.secret import refuse_credentials
from pipelines.config.section import Section

_SPEED_ALONE = frozenset(
    {
        "async_scheduling",
        "block_size",
        "compilation_config",
        "cpu_offload_gb",
        "disable_custom_all_reduce",
        "disable_log_stats",
        "distributed_executor_backend",
        "download_dir",
        "enable_chunked_prefill",
        "enable_prefix_caching",
        "enforce_eager",
        "gpu_memory_utilization",
        "hf_token",
        "kv_cache_memory_bytes",
        "max_num_batched_tokens",
        "max_num_seqs",
        "max_parallel_loading_workers",
        "num_gpu_blocks_override",
        "pipeline_parallel_size",
        "swap_space",
        "tensor_parallel_size",
    }
)
"""vLLM's arguments that change what is drawn by rounding at most."""
_SHOWN = frozenset({"kv_cache_dtype", "max_model_len", "model_impl", "quantization"})
"""Arguments whose values are stored as they are."""


class EngineConfig(Section):
    """The inference engine, vLLM. Decides speed, not rows, but for `dtype` and some of `extra`.

    What those are resolved to is recorded with the samples, and may not change within a run.
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 if the CPU or GPU computes it natively, else float32 (float16 on a GPU).

    It is resolved by the run's first engine; later ones, on any machine, compute in that format.
    """
    replicas: int = Field(1, ge=1)
    """Number of engines."""
    tensor_parallel: int = Field(1, ge=1)
    """Number of GPUs per engine, of one node; without GPUs, its number of processes."""
    max_num_seqs: int = Field(256, ge=1)
    """Maximum number of solutions an engine generates at the same time."""
    block_size: int | None = None
    """Tokens per block of the KV cache; null: 32 on a CPU, vLLM's default on a GPU."""
    kv_cache_gib: float = Field(2.0, gt=0)
    """Size of the KV cache on a CPU."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of a GPU's memory that the engine takes, KV cache included; it must be free when the
    engine starts."""
    chunk_prompts: int = Field(32, ge=1)
    """Prompts an engine works on at the same time, committed in two halves.

    If the run is killed, at most this many prompts per engine are drawn again.
    """
    max_restarts: int = Field(2, ge=0)
    """Maximum number of times an engine that died is started again, with nothing drawn in between.

    Also the maximum number of its deaths of which no prompt is the cause, and the number of deaths of
    a single prompt after which it is given up, see `max_killed_share`.
    """
    max_killed_share: float = Field(0.02, ge=0, le=1)
    """Maximum share of samples that have no solution because their prompt kills the engine.

    The run stops above it.
    """
    extra: dict[str, Any] = {}
    """Further arguments of vLLM's engine; they replace the ones above. vLLM logs them."""

    @model_validator(mode="after")
    def _has_no_credentials(self) -> Self:
        refuse_credentials("extra", self.extra)
        return self

    @property
    def deciding(self) -> dict[str, str]:
        """The arguments in `extra` that change what is drawn, as `engine.extra.NAME` -> value.

        An argument that is not known to change speed alone is taken to change rows. A value is shown
        if it is known to be no secret, else as a hash: it is stored, and differences are shown.
        """
        shown = {
            f"engine.extra.{name}": str(value) if name in _SHOWN else _hash_of(value)
            for name, value in self.extra.items()
            if name not in _SPEED_ALONE and name != "dtype"
        }
        return dict(sorted(shown.items()))

    @property
    def given_dtype(self) -> str:
        """The number format that is asked for; `engine.extra.dtype` replaces `engine.dtype`."""
        given = str(self.extra.get("dtype", self.dtype))
        return {"half": "float16", "float": "float32"}.get(given, given)

    @property
    def prompts_per_commit(self) -> int:
        """Prompts whose samples are committed together: the engine works on the other half."""
        return max(1, self.chunk_prompts // 2)


def _hash_of(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


class TrainingConfig(Section):
    """Where the M-step runs. Decides speed, but for `dtype`, which also decides the policy.

    Matrix products in bfloat16 see a copy of the weights, which does not show updates below its
    resolution: at small learning rates the losses are others than in float32 (docs/gpu.md).
    """

    launcher: Literal["torchrun", "ray"] = "torchrun"
    """torchrun: processes on the driver's machine; ray: Ray Train workers on the cluster."""
    num_workers: int = Field(1, ge=1)
    """Number of data-parallel training processes."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of matrix products; weights and optimizer state are float32.

    auto: bfloat16 if the CPU or GPU computes it natively, else float32; resolved by the run's first
    M-step, and kept by later ones.
    """
    rows_per_pass: int | None = Field(None, ge=1)
    """Maximum number of rows per forward pass of a worker; less takes less memory.

    null: on a processor no limit but that of tokens; on a GPU as many as are estimated to fit, in
    powers of two.
    """
    max_tokens_per_pass: int | None = Field(None, ge=1)
    """Maximum number of tokens per forward pass of a worker, padding included and the shared prefix
    not; a longer row is a pass of its own.

    null: 1024 on a processor, no limit on a GPU.
    """
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of a GPU's memory that a worker may take; it must be free when the worker starts."""
    save_minutes: float = Field(10.0, gt=0)
    """Within an epoch, minutes from one saved state to the next; it is also saved after each epoch.

    If the M-step is killed, at most this much is done again, and one optimizer step or one round of
    solutions on D_val.
    """
