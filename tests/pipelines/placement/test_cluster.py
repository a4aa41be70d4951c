from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from pipelines.config import RayConfig
from pipelines.placement.cluster import (
    Cluster,
    cluster_of_nodes,
    ray_cluster,
    this_machine,
    with_reports,
    without_filled_gpus,
)
from tests.pipelines.placement.machines import (
    CPU_HEAD,
    EIGHT_GPUS,
    FOUR_GPUS,
    LAPTOP,
    ONE_GPU,
    ONLY_CPUS,
    TWO_NODES,
    gpu,
    held,
    report,
)


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


@pytest.mark.parametrize(
    ("cluster", "filled", "needed", "left"),
    [
        (ONE_GPU, [0], 1, [0]),  # none is left: the run waits for it, or is refused
        (FOUR_GPUS, [], 1, [0, 1, 2, 3]),
        (FOUR_GPUS, [0], 1, [1, 2, 3]),
        (FOUR_GPUS, [0, 2], 2, [1, 3]),
        (FOUR_GPUS, [0, 2], 3, [0, 1, 2, 3]),
        (EIGHT_GPUS, [0, 1, 2, 3, 4, 5, 7], 1, [6]),
        (EIGHT_GPUS, [3], 7, [0, 1, 2, 4, 5, 6, 7]),
        (EIGHT_GPUS, [3], 8, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_machines_filled_gpus_are_left_out_if_the_run_can_do_without_them(
    cluster: Cluster, filled: list[int], needed: int, left: list[int]
) -> None:
    (found,) = without_filled_gpus(held(cluster, *filled), 0.9, needed).nodes
    assert found.report is not None
    assert [one.index for one in found.report.gpus] == left
    assert found.gpus == len(left)
    assert (found.name, found.cpus, found.is_here) == ("a", cluster.nodes[0].cpus, True)


def test_gpus_of_unknown_memory_are_taken_to_be_free() -> None:
    slices = (replace(gpu(0), total_mib=None, free_mib=None), gpu(1, used_gib=60))
    machine = Cluster((replace(ONE_GPU.nodes[0], gpus=2, report=report(*slices)),))
    (found,) = without_filled_gpus(machine, 0.9, 1).nodes
    assert found.report == report(slices[0])


@pytest.mark.parametrize("cluster", [TWO_NODES, CPU_HEAD, ONLY_CPUS, LAPTOP])
def test_the_gpus_of_a_cluster_that_was_there_before_are_left_to_ray(cluster: Cluster) -> None:
    assert without_filled_gpus(held(cluster, 0), 0.9, 1) == held(cluster, 0)


DRIVER = """
import sys
import jobs.run, jobs.machine.doctor
from jobs.machine.doctor import diagnose
from jobs.machine.preflight import preflight
from pipelines.config.load import load_config
from pipelines.errors import MachineError
from pathlib import Path
import pipelines.stages.generate, pipelines.stages.improve
from pipelines.runs.steps import steps_of
config = load_config(Path("configs/quickstart.yaml"))
steps_of(config)
diagnose()
try:
    preflight(config, {"generate", "improve"}, None, lambda: None, print)
except MachineError as error:  # such as the CUDA build without a GPU
    print(error)
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

    # Ray believes in as many GPUs as it is told of; the tool says what they are. Of four the run was
    # left one, as where others fill the first two and the last.
    folder = tmp_path_factory.mktemp("smi")
    tool = folder / "nvidia-smi"
    line = "$n, GPU-$n, NVIDIA L4, 23034, 22500, 8.9, 580.65.06"
    loop = f'for n in 0 1 2 3; do echo "{line}"; done'
    tool.write_text(f'#!/bin/sh\ncase "$1" in *gpu=*) {loop};; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    monkeypatch.setattr("ray.init", _init_with_a_gpu(ray.init))
    with ray_session(RayConfig(num_cpus=2, object_store_mb=80)):
        cluster = with_reports(ray_cluster())
        given = ray.remote(num_gpus=1)(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
        assert ray.get(given.remote()) == "2"
    (here,) = cluster.nodes
    assert (here.cpus, here.gpus, here.is_here) == (2, 1, True)
    assert here.report is not None
    assert [(one.index, one.name) for one in here.report.gpus] == [(2, "NVIDIA L4")]


def _init_with_a_gpu(init: Any) -> Any:
    return lambda **options: init(**options, num_gpus=1)
