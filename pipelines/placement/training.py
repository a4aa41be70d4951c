"""Where the M-step's workers run: their number, devices and backend, and the rows of a pass."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from pipelines.config import TrainingConfig
from pipelines.errors import ConfigError, MachineError
from pipelines.placement.cluster import Cluster
from pipelines.placement.engines import describe_gpus
from pipelines.placement.model_memory import (
    ModelShape,
    PassSize,
    in_gib,
    pass_bytes,
    state_bytes,
)

CPU_TOKENS_PER_PASS = 1024
"""On a processor, unless `training.max_tokens_per_pass` says; more tokens are no faster there."""


@dataclass(frozen=True)
class TrainingPlacement:
    """The workers of the M-step."""

    num_workers: int
    num_cpus: float
    """Cores per worker."""
    num_gpus: int
    """GPUs per worker, 0 or 1."""
    backend: Literal["nccl", "gloo"]
    """What gradients are summed with."""


def place_training(cluster: Cluster, training: TrainingConfig) -> TrainingPlacement:
    """The workers on a cluster: one GPU each if it has any, else a share of the cores each.

    Raises:
        ConfigError: the workers do not fit, or the launcher cannot reach the GPUs.
    """
    workers = training.num_workers
    if training.launcher == "torchrun":
        _refuse_torchrun(cluster)
        here = cluster.here or cluster.nodes[0]
        cluster = Cluster((here,))
    if not cluster.num_gpus:
        return TrainingPlacement(workers, _cores_of_each(cluster, workers), 0, "gloo")
    if workers > cluster.num_gpus:
        raise ConfigError(
            f"training.num_workers must be <= {cluster.num_gpus}, one per GPU of "
            f"{describe_gpus(cluster)}, got {workers}; lower it"
            + (" or set training.launcher: ray" if training.launcher == "torchrun" else "")
        )
    poorest = min(node.cpus / node.gpus for node in cluster.gpu_nodes)
    return TrainingPlacement(workers, min(1.0, poorest), 1, "nccl")


def training_environment() -> dict[str, str]:
    """The environment variables that a worker's process must be started with."""
    # CUDA numbers GPUs by speed otherwise, nvidia-smi and Ray by their place on the bus.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "TOKENIZERS_PARALLELISM": "false"}


def rows_per_pass(shape: ModelShape, dtype: str, budget: int, largest: PassSize) -> int:
    """Number of rows per forward pass of a worker on a GPU, unless `training.rows_per_pass` says.

    Args:
        shape: the model.
        dtype: number format of matrix products.
        budget: bytes of the GPU that the worker may take.
        largest: the greatest pass that is wanted: all rows of a worker's share of a batch, and the
            lengths of the longest row.

    Returns:
        The largest power of two that is estimated to fit, not more than the share of a batch needs.

    Raises:
        MachineError: one row is estimated not to fit.
    """
    state = state_bytes(shape, dtype)
    one = pass_bytes(shape, dtype, largest.of(1))
    if state + one > budget:
        raise MachineError(
            f"training_set: its longest row has {largest.prefix + largest.width} tokens; a pass of it "
            f"alone takes about {in_gib(one)}, beside {in_gib(state)} of weights, gradients and AdamW, "
            f"must be <= {in_gib(budget)} (training.gpu_memory_utilization) of this GPU; the same "
            "command goes on where there is a larger one, or set training.rows_per_pass: 1 to try it "
            "here"
        )
    rows = 1
    while rows < largest.rows and state + pass_bytes(shape, dtype, largest.of(rows * 2)) <= budget:
        rows *= 2
    return rows


def longest_row(shape: ModelShape, dtype: str, budget: int, limit: int) -> int:
    """Number of tokens of the longest row that is estimated to fit in a pass of its own.

    Args:
        shape: the model.
        dtype: number format of matrix products.
        budget: bytes of the GPU that the worker may take.
        limit: tokens that no row exceeds (`model.max_model_len`).

    Returns:
        At most the limit; 0 if no row fits.
    """
    room = budget - state_bytes(shape, dtype)
    return bisect_right(
        range(1, limit + 1),
        room,
        key=lambda tokens: pass_bytes(shape, dtype, PassSize(1, tokens, 0)),
    )


def _refuse_torchrun(cluster: Cluster) -> None:
    here = cluster.here
    if cluster.num_gpus and (here is None or not here.gpus):
        raise ConfigError(
            "training.launcher must be ray, got 'torchrun': it trains on the driver's machine, which "
            f"has no GPU, and the cluster has {describe_gpus(cluster)}; set training.launcher: ray"
        )
    if cluster.is_shared and cluster.num_gpus:
        raise ConfigError(
            "training.launcher must be ray on a Ray cluster with GPUs, got 'torchrun': Ray does not "
            "know of torchrun's workers and would give their GPUs away; set training.launcher: ray"
        )


def _cores_of_each(cluster: Cluster, workers: int) -> int:
    """The most cores that each of so many workers can have, none of them across nodes; at least 1."""
    largest = max((node.cpus for node in cluster.nodes), default=1)
    fitting = (
        cores
        for cores in range(largest, 0, -1)
        if sum(node.cpus // cores for node in cluster.nodes) >= workers
    )
    return next(fitting, 1)
