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
from tests.tiny_model import build_tiny_model, tiny_tokenizer

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
def test_an_engine_of_two_processes_draws_as_the_model_and_ends_with_its_actor(
    tmp_path: Path,
) -> None:
    import ray

    from jobs.machine.sessions import ray_session
    from pipelines.placement.cluster import ray_cluster

    folder = build_tiny_model(tmp_path / "model")
    engine = EngineConfig(dtype="float32", kv_cache_gib=0.1, max_num_seqs=8, tensor_parallel=2)
    with ray_session(RayConfig(num_cpus=2, object_store_mb=80)):
        placement = place_engines(ray_cluster(), engine)
        environment = {"env_vars": engine_environment(placement)}
        holder = ray.remote(Holder).options(num_cpus=placement.num_cpus, runtime_env=environment)
        actor = holder.remote()
        drawn = ray.get(actor.draw.remote(str(folder), engine))
        ray.kill(actor)
    assert len(drawn.workers) == 2
    assert drawn.solution.log_probability == pytest.approx(
        greedy_log_probability(folder, REQUEST.text, drawn.solution.num_tokens), abs=1e-3
    )
    deadline = time.monotonic() + SECONDS_TO_END
    while any(is_worker(pid) for pid in drawn.workers):
        assert time.monotonic() < deadline, "the engine's workers outlive its actor"
        time.sleep(0.2)


def greedy_log_probability(folder: Path, text: str, num_tokens: int) -> float:
    """Log-probability of the model's own greedy continuation."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = torch.tensor([tiny_tokenizer()(text)["input_ids"]])
    total = 0.0
    for _ in range(num_tokens):
        best = model(tokens).logits[0, -1].detach().log_softmax(-1).max(0)
        total += float(best.values)
        tokens = torch.cat([tokens, best.indices.view(1, 1)], dim=1)
    return total
