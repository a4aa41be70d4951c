"""Where engines run and how they are started: their number, resources, environment and arguments.

An engine is one Ray actor. With `engine.tensor_parallel` > 1 the actor owns that many GPUs of one
node, and vLLM's `mp` executor starts one worker process per GPU under it. vLLM's `ray` executor is
never used: it makes a placement group of its own and asks Ray for the same GPUs again, which never
come (ray-project/ray#55247). vLLM 0.32.0 takes it by itself wherever its process is in a placement
group (vllm/config/parallel.py: ParallelConfig.__post_init__), so the executor is always named.
ray.data.llm decides the same (ray-project/ray#50270).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.config import EngineConfig, ModelConfig
from pipelines.errors import ConfigError
from pipelines.placement.cluster import Cluster

CPU_BLOCK_SIZE = 32
"""Tokens per block of the KV cache on a CPU. With vLLM's 128, each of a prompt's N solutions computes
up to 127 tokens of the prompt again."""

PLACED = {
    "tensor_parallel_size": "engine.tensor_parallel",
    "pipeline_parallel_size": "engine.tensor_parallel",
    "data_parallel_size": "engine.replicas",
    "gpu_memory_utilization": "engine.gpu_memory_utilization",
}
"""Arguments of vLLM that decide which GPUs an engine takes and how much of them -> the setting."""

LIBRARY_FOLDERS = (
    Path(sys.prefix) / "lib",
    Path("/usr/lib/x86_64-linux-gnu"),
    Path("/usr/lib/aarch64-linux-gnu"),
    Path("/lib/x86_64-linux-gnu"),
    Path("/usr/lib64"),
    Path("/usr/lib"),
)
PRELOADED = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"), ("libiomp5.so",)
"""Libraries that together make a CPU engine some 20 % faster; of each group, the first one found is
preloaded."""


@dataclass(frozen=True)
class EnginePlacement:
    """What Ray reserves for each engine."""

    num_engines: int
    num_cpus: float
    """Cores per engine."""
    num_gpus: int
    """GPUs per engine; 0 on processors."""
    num_processes: int = 1
    """Processes that compute for an engine: `engine.tensor_parallel`."""


def place_engines(cluster: Cluster, engine: EngineConfig) -> EnginePlacement:
    """The engines on a cluster: on GPUs if it has any, else on shares of the cores.

    An engine takes `tensor_parallel` GPUs of one node, or its share of the cores, at most a node's.

    Raises:
        ConfigError: the engines do not fit.
    """
    _refuse_extra(engine)
    if cluster.num_gpus:
        return _on_gpus(cluster, engine)
    largest = max((node.cpus for node in cluster.nodes), default=1)
    share = max(1, min(cluster.num_cpus // engine.replicas, largest))
    if engine.tensor_parallel > share:
        raise ConfigError(
            f"engine.tensor_parallel must be <= {share}, the cores of an engine on processors "
            f"(one process per core at least), got {engine.tensor_parallel}; lower it or "
            "engine.replicas"
        )
    return EnginePlacement(engine.replicas, share, 0, engine.tensor_parallel)


def engine_environment(placement: EnginePlacement) -> dict[str, str]:
    """The environment variables that an engine's process must be started with."""
    environment = {
        # The engine's core runs in the actor: one interpreter less to start on a processor (a minute
        # on two cores), and one process that owns the GPU and dies with the actor. vLLM's guide to
        # reproducible results asks for it too, for the order in which requests are scheduled.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if placement.num_processes > 1:
        # A process forked from a Ray actor hangs in Ray's client (vllm-project/vllm#14705); vLLM
        # would find that out by itself, and say so in a warning.
        environment["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    if placement.num_gpus:
        # CUDA numbers GPUs by speed otherwise, nvidia-smi and Ray by their place on the bus.
        return environment | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    environment["OMP_NUM_THREADS"] = str(int(placement.num_cpus))
    preloaded = [os.environ["LD_PRELOAD"]] if os.environ.get("LD_PRELOAD") else []
    preloaded += [library for library in preloads() if library not in preloaded]
    return environment | ({"LD_PRELOAD": ":".join(preloaded)} if preloaded else {})


def core_binding(cores: Sequence[int], num_processes: int) -> str:
    """The binding of a CPU engine's processes to cores, as VLLM_CPU_OMP_THREADS_BIND has it.

    Args:
        cores: the cores that the engine may use.
        num_processes: its processes; each gets an equal part, the last cores may be left over.
    """
    share = len(cores) // num_processes
    if num_processes == 1:
        share = len(cores)
    parts = [cores[i * share : (i + 1) * share] for i in range(num_processes)]
    return "|".join(",".join(str(core) for core in part) for part in parts)


def engine_arguments(
    checkpoint: str, model: ModelConfig, engine: EngineConfig, dtype: str, *, use_gpu: bool
) -> dict[str, object]:
    """The arguments of vLLM's EngineArgs.

    On a GPU the engine is compiled, splits long prompts (chunked prefill) and chooses the block size
    of its cache: vLLM's own defaults. What differs on a CPU is there because its backend needs it.

    Args:
        checkpoint: folder or hub id.
        model: the model's settings.
        engine: the engine's settings; those of `extra` replace ours.
        dtype: the number format, as `number_format` decides it.
        use_gpu: whether the engine has GPUs.
    """
    arguments: dict[str, object] = {
        "model": checkpoint,
        "revision": model.revision,
        "trust_remote_code": model.trust_remote_code,
        "max_model_len": model.max_model_len,
        "dtype": dtype,
        "tensor_parallel_size": engine.tensor_parallel,
        "distributed_executor_backend": "mp" if engine.tensor_parallel > 1 else "uni",
        "max_num_seqs": engine.max_num_seqs,
        "disable_log_stats": True,
        # The policy's own log-probabilities, whatever the temperature.
        "logprobs_mode": "raw_logprobs",
        # A checkpoint's generation_config must not change how samples are drawn.
        "generation_config": "vllm",
        "seed": 0,
    }
    if engine.block_size is not None:
        arguments["block_size"] = engine.block_size
    if use_gpu:
        arguments["gpu_memory_utilization"] = engine.gpu_memory_utilization
    else:
        arguments.setdefault("block_size", CPU_BLOCK_SIZE)
        # Compiling takes a CPU engine a minute at every start.
        arguments["enforce_eager"] = True
        # A seeded prompt that is prefilled in two steps ends the CPU backend.
        arguments["enable_chunked_prefill"] = False
        arguments["kv_cache_memory_bytes"] = int(engine.kv_cache_gib * 2**30)
    return arguments | engine.extra


def preloads(folders: tuple[Path, ...] = LIBRARY_FOLDERS) -> list[str]:
    """The libraries of PRELOADED that exist in these folders."""
    found = []
    for names in PRELOADED:
        candidates = (folder / name for name in names for folder in folders)
        library = next((path for path in candidates if path.exists()), None)
        found += [str(library)] if library else []
    return found


def _on_gpus(cluster: Cluster, engine: EngineConfig) -> EnginePlacement:
    size = engine.tensor_parallel
    largest = max(node.gpus for node in cluster.nodes)
    if size > largest:
        raise ConfigError(
            f"engine.tensor_parallel must be <= {largest}, the GPUs of the largest node (an engine "
            f"does not span nodes), got {size}; lower it"
        )
    room = sum(node.gpus // size for node in cluster.nodes)
    if engine.replicas > room:
        raise ConfigError(
            f"engine.replicas must be <= {room}, the engines of {size} GPUs that fit "
            f"{describe_gpus(cluster)}, got {engine.replicas}; lower engine.replicas or "
            "engine.tensor_parallel"
        )
    # A core per engine, or less where a node has fewer cores than engines: Ray would wait for ever.
    poorest = min(node.cpus / (node.gpus // size) for node in cluster.nodes if node.gpus >= size)
    return EnginePlacement(engine.replicas, min(1.0, poorest), size, size)


def describe_gpus(cluster: Cluster) -> str:
    """The GPUs of a cluster in words, such as "8 GPUs on 2 nodes"."""
    nodes = len(cluster.gpu_nodes)
    where = cluster.gpu_nodes[0].name if nodes == 1 else f"{nodes} nodes"
    return f"{cluster.num_gpus} GPU{'s' * (cluster.num_gpus != 1)} on {where}"


def _refuse_extra(engine: EngineConfig) -> None:
    for argument, setting in PLACED.items():
        if argument in engine.extra:
            raise ConfigError(
                f"engine.extra.{argument} must not be set, got {engine.extra[argument]!r}: restem "
                f"places engines by its own settings; use {setting}"
            )
    executor = engine.extra.get("distributed_executor_backend", "mp")
    if executor not in ("mp", "uni"):
        raise ConfigError(
            "engine.extra.distributed_executor_backend must be mp, got "
            f"{executor!r}: the engine's actor has its GPUs already, and vLLM's other executors ask "
            "for them again; remove it"
        )
