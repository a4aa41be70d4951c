from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from pipelines.config import RayConfig
from pipelines.placement.cluster import cluster_of_nodes, ray_cluster, this_machine, with_reports


def ray_node(name: str, *, alive: bool = True, **resources: float) -> dict[str, Any]:
    """A node as `ray.nodes()` lists it."""
    return {
        "NodeID": f"id-{name}",
        "Alive": alive,
        "NodeManagerAddress": f"10.0.0.{len(name)}",
        "NodeManagerHostname": name,
        "Resources": {f"node:{name}": 1.0, "memory": 1e9, **resources},
    }


NODES = [
    ray_node("head", CPU=8.0),
    ray_node("one", CPU=32.0, GPU=4.0),
    ray_node("two", CPU=32.0, GPU=4.0),
    ray_node("gone", CPU=96.0, GPU=8.0, alive=False),
]


def test_a_cluster_is_its_living_nodes() -> None:
    cluster = cluster_of_nodes(NODES, "id-head", is_shared=True)
    assert [(one.name, one.cpus, one.gpus) for one in cluster.nodes] == [
        ("head", 8, 0),
        ("one", 32, 4),
        ("two", 32, 4),
    ]
    assert (cluster.num_cpus, cluster.num_gpus) == (72, 8)
    assert [one.name for one in cluster.gpu_nodes] == ["one", "two"]
    assert cluster.here is not None
    assert cluster.here.name == "head"


def test_a_driver_outside_the_cluster_is_no_node() -> None:
    assert cluster_of_nodes(NODES, None).here is None


def test_this_machine_is_a_cluster_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (here,) = this_machine(3).nodes
    assert (here.cpus, here.gpus, here.is_here) == (3, 0, True)
    assert here.build is not None


DRIVER = """
import sys
import jobs.run, jobs.machine.doctor
from jobs.machine.doctor import diagnose
from jobs.machine.preflight import preflight
from pipelines.config.load import load_config
from pathlib import Path
import pipelines.stages.generate, pipelines.stages.improve
from pipelines.runs.steps import steps_of
config = load_config(Path("configs/quickstart.yaml"))
steps_of(config)
diagnose()
preflight(config, {"generate", "improve"}, None, lambda: None, print)
heavy = sorted({"torch", "vllm", "transformers"} & set(sys.modules))
print("imported:", heavy)
"""


def test_the_driver_asks_for_hardware_without_importing_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported: []"


@pytest.mark.slow
def test_a_running_cluster_is_read_and_each_gpu_node_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import ray

    from jobs.machine.sessions import ray_session

    # Ray believes in as many GPUs as it is told of; the tool says what they are.
    folder = tmp_path_factory.mktemp("smi")
    tool = folder / "nvidia-smi"
    line = "0, GPU-a, NVIDIA L4, 23034, 22500, 8.9, 580.65.06"
    tool.write_text(f'#!/bin/sh\ncase "$1" in *gpu=*) echo "{line}";; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("ray.init", _init_with_a_gpu(ray.init))
    with ray_session(RayConfig(num_cpus=2, object_store_mb=80)):
        cluster = with_reports(ray_cluster())
    (here,) = cluster.nodes
    assert (here.cpus, here.gpus, here.is_here) == (2, 1, True)
    assert here.report is not None
    assert [one.name for one in here.report.gpus] == ["NVIDIA L4"]


def _init_with_a_gpu(init: Any) -> Any:
    return lambda **options: init(**options, num_gpus=1)
