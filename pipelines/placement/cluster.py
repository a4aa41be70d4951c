"""The machines that a run computes on: one, or the nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pipelines.placement.builds import Build, installed_build
from pipelines.placement.nvidia import NvidiaReport, nvidia_report
from pipelines.runtime.hardware import usable_cores

SECONDS_TO_ANSWER = 120
"""Time for a node to start a task and run nvidia-smi."""


@dataclass(frozen=True)
class Node:
    """One machine."""

    name: str
    cpus: int
    gpus: int = 0
    """GPUs that the run may use there."""
    is_here: bool = False
    """Whether it is the driver's own machine."""
    report: NvidiaReport | None = None
    """What nvidia-smi said there; None if it was not asked."""
    build: Build | None = None
    """The engine that is installed there; None if it was not asked."""
    node_id: str = ""
    """Ray's id of it."""


@dataclass(frozen=True)
class Cluster:
    """All machines of a run."""

    nodes: tuple[Node, ...]
    is_shared: bool = False
    """Whether the cluster was there before the run, so that others may use it too."""

    @property
    def num_cpus(self) -> int:
        """Cores of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def num_gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)

    @property
    def gpu_nodes(self) -> tuple[Node, ...]:
        """The nodes with GPUs."""
        return tuple(node for node in self.nodes if node.gpus)

    @property
    def here(self) -> Node | None:
        """The driver's own machine; None if it is no node."""
        return next((node for node in self.nodes if node.is_here), None)


def this_machine(num_cpus: int | None = None) -> Cluster:
    """The cluster that Ray would be started as on this machine.

    Args:
        num_cpus: its cores (`ray.num_cpus`), all if None.
    """
    report = nvidia_report()
    cpus = num_cpus or usable_cores()
    here = Node("this machine", cpus, len(report.gpus), True, report, installed_build())
    return Cluster((here,))


def without_filled_gpus(cluster: Cluster, share: float, needed: int) -> Cluster:
    """The cluster without the GPUs that other processes fill, if enough are left without them.

    Only on a machine where Ray is started for the run: restem decides there which GPUs it sees. A Ray
    that was there before hands out its GPUs by its own count.

    Args:
        cluster: with its reports.
        share: share of a GPU's memory that the run takes.
        needed: number of GPUs that the run takes at the same time.
    """
    here = cluster.here
    if cluster.is_shared or here is None or here.report is None:
        return cluster
    free = tuple(gpu for gpu in here.report.gpus if gpu.has_free(share))
    if len(free) < max(needed, 1):
        return cluster
    return Cluster((replace(here, gpus=len(free), report=replace(here.report, gpus=free)),))


def cluster_of_nodes(
    nodes: Sequence[Mapping[str, Any]], here: str | None, *, is_shared: bool = False
) -> Cluster:
    """The cluster in a list of nodes as `ray.nodes()` returns it.

    Args:
        nodes: the list.
        here: node id of the driver's machine.
        is_shared: whether the cluster was there before the run.
    """
    alive = [node for node in nodes if node["Alive"]]
    return Cluster(
        tuple(
            Node(
                name=node.get("NodeManagerHostname") or node["NodeManagerAddress"],
                cpus=int(node["Resources"].get("CPU", 0)),
                gpus=int(node["Resources"].get("GPU", 0)),
                is_here=node["NodeID"] == here,
                node_id=node["NodeID"],
            )
            for node in alive
        ),
        is_shared,
    )


def ray_cluster(*, is_shared: bool = False) -> Cluster:
    """The nodes of the Ray cluster that this process is connected to."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    return cluster_of_nodes(ray.nodes(), here, is_shared=is_shared)


def with_reports(cluster: Cluster) -> Cluster:
    """The connected Ray cluster, with what nvidia-smi says on each node that has GPUs.

    A node that does not answer keeps no report.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # A task without GPUs sees the node's own CUDA_VISIBLE_DEVICES (RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO
    # is off in Ray 2.60), so it reports on the GPUs that Ray hands out there.
    look = ray.remote(num_cpus=0)(_look)
    asked = {
        node.node_id: look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        ).remote()
        for node in cluster.gpu_nodes
    }
    nodes = []
    for node in cluster.nodes:
        if node.node_id in asked:
            with suppress(RayError):
                report, build = ray.get(asked[node.node_id], timeout=SECONDS_TO_ANSWER)
                node = replace(node, report=report, build=build)
        nodes.append(node)
    return replace(cluster, nodes=tuple(nodes))


def _look() -> tuple[NvidiaReport, Build]:
    return nvidia_report(), installed_build()
