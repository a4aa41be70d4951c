from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config import EngineConfig, ModelConfig
from pipelines.errors import ConfigError
from pipelines.placement.cluster import Cluster
from pipelines.placement.engines import (
    CPU_BLOCK_SIZE,
    EnginePlacement,
    core_binding,
    engine_arguments,
    engine_environment,
    place_engines,
    preloads,
)
from tests.pipelines.placement.machines import (
    CPU_HEAD,
    EIGHT_GPUS,
    FOUR_GPUS,
    LAPTOP,
    ONE_GPU,
    ONLY_CPUS,
    TWO_NODES,
    node,
)

ON_GPU = EnginePlacement(1, 1, 1)
ON_CPU = EnginePlacement(1, 6, 0)
FOUR_WIDE = EnginePlacement(2, 1, 4, 4)


@pytest.mark.parametrize(
    ("cluster", "replicas", "tensor_parallel"),
    [
        (ONE_GPU, 1, 1),
        (FOUR_GPUS, 4, 1),
        (FOUR_GPUS, 1, 4),
        (FOUR_GPUS, 2, 2),
        (EIGHT_GPUS, 8, 1),
        (EIGHT_GPUS, 2, 4),
        (TWO_NODES, 16, 1),
        (TWO_NODES, 2, 8),
        (CPU_HEAD, 8, 1),
        (CPU_HEAD, 2, 4),
    ],
)
def test_engines_that_fill_the_gpus_take_each_once(
    cluster: Cluster, replicas: int, tensor_parallel: int
) -> None:
    placed = place_engines(
        cluster, EngineConfig(replicas=replicas, tensor_parallel=tensor_parallel)
    )
    assert placed == EnginePlacement(replicas, 1, tensor_parallel, tensor_parallel)
    assert placed.num_engines * placed.num_gpus == cluster.num_gpus


@pytest.mark.parametrize(
    ("cluster", "replicas", "tensor_parallel", "words"),
    [
        (ONE_GPU, 2, 1, "engine.replicas must be <= 1, .* 1 GPU on a, got 2"),
        (ONE_GPU, 1, 2, "engine.tensor_parallel must be <= 1, .* got 2"),
        (EIGHT_GPUS, 3, 4, "engine.replicas must be <= 2, the engines of 4 GPUs .*, got 3"),
        (EIGHT_GPUS, 3, 3, "engine.replicas must be <= 2"),
        (TWO_NODES, 1, 16, "does not span nodes"),
        (TWO_NODES, 3, 5, "engine.replicas must be <= 2, .* 16 GPUs on 2 nodes"),
        (CPU_HEAD, 9, 1, "engine.replicas must be <= 8"),
        (LAPTOP, 1, 4, "engine.tensor_parallel must be <= 2, the cores"),
    ],
)
def test_engines_that_do_not_fit_are_refused(
    cluster: Cluster, replicas: int, tensor_parallel: int, words: str
) -> None:
    engine = EngineConfig(replicas=replicas, tensor_parallel=tensor_parallel)
    with pytest.raises(ConfigError, match=words) as caught:
        place_engines(cluster, engine)
    assert "lower" in str(caught.value)


def test_without_gpus_engines_share_the_cores_of_a_node() -> None:
    one = Cluster((node("a", 16),))
    assert place_engines(one, EngineConfig()) == EnginePlacement(1, 16, 0)
    assert place_engines(one, EngineConfig(replicas=3)) == EnginePlacement(3, 5, 0)
    assert place_engines(ONLY_CPUS, EngineConfig()) == EnginePlacement(1, 16, 0)
    assert place_engines(LAPTOP, EngineConfig(replicas=4)) == EnginePlacement(4, 1, 0)
    two = EnginePlacement(1, 2, 0, 2)
    assert place_engines(LAPTOP, EngineConfig(tensor_parallel=2)) == two


def test_engines_ask_for_no_more_cores_than_a_node_of_many_gpus_has() -> None:
    few_cores = Cluster((node("a", 4, 8),))
    assert place_engines(few_cores, EngineConfig(replicas=8)).num_cpus == 0.5
    assert place_engines(few_cores, EngineConfig(tensor_parallel=8)).num_cpus == 1


@pytest.mark.parametrize(
    "extra",
    [
        {"tensor_parallel_size": 2},
        {"pipeline_parallel_size": 2},
        {"data_parallel_size": 2},
        {"gpu_memory_utilization": 0.5},
        {"distributed_executor_backend": "ray"},
    ],
)
def test_arguments_that_would_claim_gpus_a_second_time_are_refused(
    extra: dict[str, object],
) -> None:
    (name,) = extra
    with pytest.raises(ConfigError, match=rf"engine\.extra\.{name} must"):
        place_engines(EIGHT_GPUS, EngineConfig(extra=extra))


def arguments(engine: EngineConfig, *, use_gpu: bool) -> dict[str, object]:
    return engine_arguments("folder", ModelConfig(), engine, "bfloat16", use_gpu=use_gpu)


def test_a_gpu_engine_is_compiled_and_keeps_vllms_own_cache_and_prefill() -> None:
    found = arguments(EngineConfig(), use_gpu=True)
    assert found["gpu_memory_utilization"] == 0.9
    assert not {
        "enforce_eager",
        "enable_chunked_prefill",
        "block_size",
        "kv_cache_memory_bytes",
    } & set(found)


def test_a_cpu_engine_gets_what_its_backend_needs() -> None:
    found = arguments(EngineConfig(kv_cache_gib=1), use_gpu=False)
    assert found["enforce_eager"] is True
    assert found["enable_chunked_prefill"] is False
    assert found["block_size"] == CPU_BLOCK_SIZE
    assert found["kv_cache_memory_bytes"] == 2**30
    assert "gpu_memory_utilization" not in found


@pytest.mark.parametrize("use_gpu", [True, False])
def test_the_executor_is_always_named_and_never_rays(use_gpu: bool) -> None:
    one, four = EngineConfig(), EngineConfig(tensor_parallel=4)
    assert arguments(one, use_gpu=use_gpu)["distributed_executor_backend"] == "uni"
    assert arguments(four, use_gpu=use_gpu)["distributed_executor_backend"] == "mp"
    assert arguments(four, use_gpu=use_gpu)["tensor_parallel_size"] == 4


def test_extra_arguments_and_a_block_size_replace_ours() -> None:
    engine = EngineConfig(block_size=64, extra={"enforce_eager": False})
    assert arguments(engine, use_gpu=False)["block_size"] == 64
    assert arguments(engine, use_gpu=False)["enforce_eager"] is False
    assert arguments(engine, use_gpu=True)["block_size"] == 64


def test_only_a_cpu_engine_gets_a_number_of_threads_and_preloads() -> None:
    assert engine_environment(ON_CPU)["OMP_NUM_THREADS"] == "6"
    assert not {"OMP_NUM_THREADS", "LD_PRELOAD"} & set(engine_environment(ON_GPU))


def test_every_engine_lives_in_its_actor_and_its_workers_are_spawned() -> None:
    for placement in (ON_CPU, ON_GPU, FOUR_WIDE):
        assert engine_environment(placement)["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert engine_environment(FOUR_WIDE)["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
    assert "VLLM_WORKER_MULTIPROC_METHOD" not in engine_environment(ON_GPU)


def test_gpus_are_numbered_as_nvidia_smi_numbers_them() -> None:
    assert engine_environment(ON_GPU)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "CUDA_DEVICE_ORDER" not in engine_environment(ON_CPU)


def test_the_users_preloaded_libraries_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/opt/mine.so")
    assert engine_environment(ON_CPU)["LD_PRELOAD"].split(":")[0] == "/opt/mine.so"


def test_only_libraries_that_exist_are_preloaded(tmp_path: Path) -> None:
    assert preloads((tmp_path,)) == []
    (tmp_path / "libtcmalloc.so.4").touch()
    assert preloads((tmp_path,)) == [str(tmp_path / "libtcmalloc.so.4")]
    (tmp_path / "libtcmalloc_minimal.so.4").touch()
    (tmp_path / "libiomp5.so").touch()
    assert preloads((tmp_path,)) == [
        str(tmp_path / "libtcmalloc_minimal.so.4"),
        str(tmp_path / "libiomp5.so"),
    ]


def test_a_cpu_engines_processes_share_its_cores() -> None:
    assert core_binding([0, 1], 1) == "0,1"
    assert core_binding([0, 1], 2) == "0|1"
    assert core_binding([0, 1, 2, 5, 7], 2) == "0,1|2,5"
