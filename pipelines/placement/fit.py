"""What an engine and a training worker hold on the smallest GPU that a run may give them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.config import RunConfig
from pipelines.placement.cluster import Cluster
from pipelines.placement.model_memory import (
    EngineMemory,
    ModelShape,
    PassSize,
    engine_memory,
    pass_bytes,
    state_bytes,
)
from pipelines.placement.nvidia import Gpu, number_format
from pipelines.placement.training import longest_row


@dataclass(frozen=True)
class EngineFit:
    """An engine on a GPU."""

    dtype: str
    memory: EngineMemory


@dataclass(frozen=True)
class WorkerFit:
    """A training worker on a GPU."""

    shape: ModelShape
    dtype: str
    budget: int
    """What the worker may take: `training.gpu_memory_utilization` of the GPU."""
    state: int
    """Bytes of weights, gradients, AdamW and context."""
    longest: int
    """Tokens of the longest row that is estimated to fit in a pass; 0 if none does."""

    def row_bytes(self, tokens: int, rows: int = 1) -> int:
        """Estimated bytes of a pass of rows of this length."""
        return pass_bytes(self.shape, self.dtype, PassSize(rows, tokens, 0))


def engine_fit(config: RunConfig, cluster: Cluster, shape: ModelShape | None) -> EngineFit | None:
    """The engine; None without a GPU whose memory is known, or a model that states its sizes."""
    gpus, engine = _known_gpus(cluster), config.engine
    if shape is None or not gpus:
        return None
    dtype = number_format(engine.dtype, gpus)
    budget = int(engine.gpu_memory_utilization * _smallest(gpus))
    memory = engine_memory(shape, dtype, engine.tensor_parallel, engine.max_num_seqs, budget)
    return EngineFit(dtype, memory)


def worker_fit(config: RunConfig, cluster: Cluster, shape: ModelShape | None) -> WorkerFit | None:
    """The worker; None without a GPU whose memory is known, or a model that states its sizes.

    With torchrun only the GPUs of the driver's machine count.
    """
    training = config.training
    here = tuple(node for node in cluster.nodes if node.is_here)
    gpus = _known_gpus(Cluster(here) if training.launcher == "torchrun" else cluster)
    if shape is None or not gpus:
        return None
    dtype = training_format(training.dtype, gpus)
    budget = int(training.gpu_memory_utilization * _smallest(gpus))
    longest = longest_row(shape, dtype, budget, config.model.max_model_len)
    return WorkerFit(shape, dtype, budget, state_bytes(shape, dtype), longest)


def training_format(requested: str, gpus: Sequence[Gpu]) -> str:
    """The number format of training's matrix products, see `number_format`.

    A GPU without bfloat16 trains in float32: float16 would need its gradients scaled.
    """
    dtype = number_format(requested, gpus)
    return "float32" if dtype == "float16" else dtype


def rows_of_a_worker(config: RunConfig) -> int:
    """Number of rows of a worker's share of a batch."""
    return math.ceil(config.improve.batch_size / config.training.num_workers)


def _known_gpus(cluster: Cluster) -> list[Gpu]:
    """The GPUs whose memory is known."""
    reports = [node.report for node in cluster.gpu_nodes if node.report]
    return [gpu for report in reports for gpu in report.gpus if gpu.total_mib]


def _smallest(gpus: Sequence[Gpu]) -> int:
    return min(gpu.total_mib or 0 for gpu in gpus) * 2**20
