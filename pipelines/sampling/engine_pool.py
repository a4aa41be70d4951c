"""Ray Data over engine actors: how many, on what, how they are started again."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config import EngineConfig
from pipelines.errors import StageFailed
from pipelines.sampling.chunk_drawer import ChunkDrawer, DrawnChunk, drawn_chunk
from pipelines.sampling.sampler import Sampler
from pipelines.sampling.vllm_environment import process_environment
from pipelines.stage import FileWriter

if TYPE_CHECKING:
    import pyarrow as pa

CHUNKS_AT_ONCE = 2
"""Chunks with an engine: the one that it draws, and one that it is refilled from as that ends."""


@dataclass(frozen=True)
class Resources:
    """What Ray reserves for one engine."""

    num_cpus: int
    num_gpus: int


def draw_chunks(
    chunks: list[pa.Table],
    sampler_factory: Callable[[], Sampler],
    policy_id: str,
    writer: FileWriter,
    log: Path,
    engine: EngineConfig,
) -> Iterator[DrawnChunk]:
    """Draw and write every chunk, on `engine.replicas` engines; chunks come as they finish.

    Several chunks are with an engine at once, so that it goes on with the next one while the last
    solutions of the one before are still being drawn.

    Raises:
        StageFailed: an engine did not start, or died more than `engine.max_restarts` times.
        RestEMError: what the sampler or the writer refused.
    """
    import ray
    from ray.exceptions import RayError

    data = ray.data.from_arrow(chunks)
    # The data set's own copy of Ray's settings, not the process's.
    data.context.enable_progress_bars = False
    data.context.max_consecutive_actor_init_deaths = 0
    # What fails is raised here, and told in full in the engine's log.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        # Ray 2.60 warns of max_restarts, but has no other way to say it.
        warnings.simplefilter("ignore", DeprecationWarning)
        drawn = data.map_batches(
            ChunkDrawer,
            fn_constructor_args=(sampler_factory, policy_id, writer, log),
            batch_size=None,
            batch_format="pyarrow",
            **_placement(chunks, engine),
        )
    size = log.stat().st_size if log.exists() else 0
    try:
        # Without prefetching: a chunk is to be committed when it is there.
        for batch in drawn.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            yield from map(drawn_chunk, batch.to_pylist())
    except RayError as error:
        raise _explain(error, log, size, engine.max_restarts) from error


def resources(
    cluster: dict[str, float], largest_node_cpus: float, engine: EngineConfig
) -> Resources:
    """What one engine gets: `tensor_parallel` GPUs where there are GPUs, else its share of cores."""
    if cluster.get("GPU", 0) > 0:
        return Resources(num_cpus=1, num_gpus=engine.tensor_parallel)
    share = int(cluster.get("CPU", 1) // engine.replicas)
    return Resources(num_cpus=max(1, min(share, int(largest_node_cpus))), num_gpus=0)


def last_error(log: Path, offset: int = 0) -> str | None:
    """The last line of a log that names an error, from byte `offset` on."""
    if not log.exists():
        return None
    with log.open("rb") as file:
        file.seek(offset)
        lines = file.read().decode(errors="replace").splitlines()
    named = [line.strip() for line in lines if _NAMES_AN_ERROR.search(line)]
    return named[-1] if named else None


_NAMES_AN_ERROR = re.compile(r"^\s*(\(.*?\)\s*)?[\w.]*(Error|Exception|Interrupt)\b.*")


def _placement(chunks: list[pa.Table], engine: EngineConfig) -> dict[str, Any]:
    """Arguments of map_batches that place the engines and start them again."""
    import ray

    largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    share = resources(ray.cluster_resources(), largest, engine)
    threads = share.num_cpus if share.num_gpus == 0 else None
    return {
        "compute": ray.data.ActorPoolStrategy(
            size=min(engine.replicas, len(chunks)),
            max_concurrent_calls_per_actor=CHUNKS_AT_ONCE,
            max_tasks_in_flight_per_actor=CHUNKS_AT_ONCE,
            enable_true_multi_threading=True,
        ),
        "num_cpus": share.num_cpus,
        "num_gpus": share.num_gpus,
        "max_restarts": engine.max_restarts,
        "max_task_retries": engine.max_restarts,
        "runtime_env": {"env_vars": process_environment(threads)},
    }


def _explain(error: Exception, log: Path, offset: int, max_restarts: int) -> StageFailed:
    """That the engine failed, with its own last words."""
    why = last_error(log, offset) or _first_line(error)
    return StageFailed(
        f"generate: the engine did not start, or died more than {max_restarts} times "
        f"(engine.max_restarts): {why}; its log is {log}"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
