"""Engines as Ray Data actors: how chunks reach them, and what happens when one dies."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import EngineConfig
from pipelines.errors import StageFailed, first_line
from pipelines.placement.cluster import ray_cluster
from pipelines.placement.engines import engine_environment, place_engines
from pipelines.sampling.attempts import Attempts
from pipelines.sampling.chunk_drawer import ChunkDrawer, DrawnChunk, EngineFailed, drawn_chunk
from pipelines.sampling.sampler import Request, Sampler
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
    control: Request | None = None,
) -> Iterator[DrawnChunk]:
    """Draw and write every chunk on `engine.replicas` engines; yields chunks as they finish.

    An engine has several chunks at once, so that it starts the next one while the last solutions of
    the one before are still being drawn. What engines die of is found by `Attempts`; a chunk with a
    prompt that kills them is yielded in parts.

    Args:
        chunks: prompts, see `pending_chunks`.
        sampler_factory: makes the sampler in each engine's process.
        policy_id: the policy that the sampler draws from.
        writer: writes the rows as uncommitted files.
        log: file to which the engines' output is appended.
        engine: the engines' settings.
        control: a prompt that was drawn before, if there is one.

    Raises:
        StageFailed: an engine did not start, or died too often, see `Attempts.start`.
        ConfigError: the engines do not fit the cluster.
        RestEMError: what the sampler or the writer refused.
    """
    import pyarrow as pa
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    data = ray.data.from_arrow([*chunks])
    # The data set's own copy of Ray's settings, not the process's.
    data.context.enable_progress_bars = False
    data.context.max_consecutive_actor_init_deaths = 0
    # Failures are raised here, and logged in full in the engine's log.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    placement = place_engines(ray_cluster(), engine)
    # On the driver's node, with which it lives and dies.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    attempts = (
        ray.remote(Attempts)
        .options(num_cpus=0, scheduling_strategy=here)
        .remote(engine.max_restarts, control)
    )
    # Ray restarts an actor that died, and repeats its calls, without end: `Attempts` ends it.
    drawn = data.map_batches(
        ChunkDrawer,
        fn_constructor_args=(sampler_factory, policy_id, writer, log, attempts),
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
    except EngineFailed as error:
        # Its last words, if it had any: a process that is killed has none.
        reason = last_error(log, log_size) or "it left no error"
        raise StageFailed(f"generate: {error}: {reason}; its log is {log}") from error
    except RayError as error:
        reason = last_error(log, log_size) or first_line(error)
        raise StageFailed(
            f"generate: the engine did not start, or was lost: {reason}; its log is {log}"
        ) from error
    finally:
        if ray.is_initialized():
            ray.kill(attempts)


def last_error(log: Path, offset: int = 0) -> str | None:
    """The last line that names an error in a log, from byte `offset` on."""
    if not log.exists():
        return None
    with log.open("rb") as file:
        file.seek(offset)
        lines = file.read().decode(errors="replace").splitlines()
    named = [line.strip() for line in lines if _NAMES_AN_ERROR.search(line)]
    return named[-1] if named else None
