"""Engines as Ray Data actors: how chunks reach them, and what happens when one dies."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import EngineConfig
from pipelines.errors import StageFailed, first_line
from pipelines.placement.cluster import ray_cluster
from pipelines.placement.engines import engine_environment, place_engines
from pipelines.sampling.chunk_drawer import ChunkDrawer, DrawnChunk, drawn_chunk
from pipelines.sampling.sampler import Sampler
from pipelines.stage import FileWriter

if TYPE_CHECKING:
    import pyarrow as pa

CHUNKS_AT_ONCE = 2
"""Number of chunks with an engine: the one it draws, and the one that refills it as that ends."""

_NAMES_AN_ERROR = re.compile(r"^\s*(\(.*?\)\s*)?[\w.]*(Error|Exception|Interrupt)\b.*")


def draw_chunks(
    chunks: list[pa.Table],
    sampler_factory: Callable[[], Sampler],
    policy_id: str,
    writer: FileWriter,
    log: Path,
    engine: EngineConfig,
) -> Iterator[DrawnChunk]:
    """Draw and write every chunk on `engine.replicas` engines; yields chunks as they finish.

    An engine has several chunks at once, so that it starts the next one while the last solutions of
    the one before are still being drawn.

    Raises:
        StageFailed: an engine did not start, or died more than `engine.max_restarts` times.
        ConfigError: the engines do not fit the cluster.
        RestEMError: what the sampler or the writer refused.
    """
    import pyarrow as pa
    import ray
    from ray.exceptions import RayError

    data = ray.data.from_arrow([*chunks])
    # The data set's own copy of Ray's settings, not the process's.
    data.context.enable_progress_bars = False
    data.context.max_consecutive_actor_init_deaths = 0
    # Failures are raised here, and logged in full in the engine's log.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    placement = place_engines(ray_cluster(), engine)
    with warnings.catch_warnings():
        # Ray 2.60 warns about max_restarts, but has no other way to set it.
        warnings.simplefilter("ignore", DeprecationWarning)
        drawn = data.map_batches(
            ChunkDrawer,
            fn_constructor_args=(sampler_factory, policy_id, writer, log),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                size=min(placement.num_engines, len(chunks)),
                max_concurrent_calls_per_actor=CHUNKS_AT_ONCE,
                max_tasks_in_flight_per_actor=CHUNKS_AT_ONCE,
                enable_true_multi_threading=True,
            ),
            num_cpus=placement.num_cpus,
            num_gpus=placement.num_gpus,
            max_restarts=engine.max_restarts,
            max_task_retries=engine.max_restarts,
            runtime_env={"env_vars": engine_environment(placement)},
        )
    log_size = log.stat().st_size if log.exists() else 0
    try:
        # Without prefetching, so that a chunk is committed as soon as it is drawn.
        for batch in drawn.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            assert isinstance(batch, pa.Table)
            yield from map(drawn_chunk, batch.to_pylist())
    except RayError as error:
        reason = last_error(log, log_size) or first_line(error)
        raise StageFailed(
            "generate: the engine did not start, or died more than "
            f"{engine.max_restarts} times (engine.max_restarts): {reason}; its log is {log}"
        ) from error


def last_error(log: Path, offset: int = 0) -> str | None:
    """The last line that names an error in a log, from byte `offset` on."""
    if not log.exists():
        return None
    with log.open("rb") as file:
        file.seek(offset)
        lines = file.read().decode(errors="replace").splitlines()
    named = [line.strip() for line in lines if _NAMES_AN_ERROR.search(line)]
    return named[-1] if named else None
