"""An engine of two processes in a Ray actor: the executor, its processes and their end."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pipelines.config import EngineConfig, ModelConfig, RayConfig
from pipelines.placement.engines import engine_environment, place_engines
from pipelines.sampling.sampler import DecodingSettings, DrawnSolution, Request
from tests.tiny_model import build_tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = Request("p", "1 + 2 = ", 1, DecodingSettings(0.0, 0, 1.0, 8, (), 128), seed=3)
SECONDS_TO_END = 20.0


class Drawn(NamedTuple):
    solution: DrawnSolution
    workers: list[int]
    """Process ids of the engine's workers."""


class Holder:
    """An actor with an engine."""

    def draw(self, checkpoint: str, engine: EngineConfig) -> Drawn:
        from pipelines.sampling.vllm_sampler import VllmSampler

        self._sampler = VllmSampler(checkpoint, ModelConfig(max_model_len=128), engine)
        ((solution,),) = self._sampler.draw([REQUEST])
        return Drawn(solution, [pid for pid in children_of(os.getpid()) if is_worker(pid)])


def children_of(parent: int) -> Iterator[int]:
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            yield int(file.parent.name)


def is_worker(pid: int) -> bool:
    try:
        return b"VLLM::Worker" in (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_an_engine_of_two_processes_draws_as_one_and_ends_with_its_actor(tmp_path: Path) -> None:
    import ray

    from jobs.machine.sessions import ray_session
    from pipelines.placement.cluster import ray_cluster

    folder = build_tiny_model(tmp_path / "model")
    drawn: dict[int, Drawn] = {}
    with ray_session(RayConfig(num_cpus=2, object_store_mb=80)):
        for processes in (1, 2):
            engine = EngineConfig(
                dtype="float32", kv_cache_gib=0.1, max_num_seqs=8, tensor_parallel=processes
            )
            placement = place_engines(ray_cluster(), engine)
            actor = (
                ray.remote(Holder)
                .options(
                    num_cpus=placement.num_cpus,
                    runtime_env={"env_vars": engine_environment(placement)},
                )
                .remote()
            )
            drawn[processes] = ray.get(actor.draw.remote(str(folder), engine))
            ray.kill(actor)
    one, two = drawn[1], drawn[2]
    assert (len(one.workers), len(two.workers)) == (0, 2)
    assert two.solution.solution == one.solution.solution
    assert two.solution.log_probability == pytest.approx(one.solution.log_probability, abs=1e-4)
    deadline = time.monotonic() + SECONDS_TO_END
    while any(is_worker(pid) for pid in two.workers):
        assert time.monotonic() < deadline, "the engine's workers outlive its actor"
        time.sleep(0.2)
