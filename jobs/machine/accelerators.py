"""Require that a run's engines and workers fit the machines, before anything is drawn or pinned."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.config import RunConfig
from pipelines.errors import InputError, MachineError
from pipelines.placement.builds import installed_build
from pipelines.placement.cluster import Cluster, Node, ray_cluster, this_machine, with_reports
from pipelines.placement.faults import (
    GENERATE,
    IMPROVE,
    Fault,
    build_faults,
    config_faults,
    filled_faults,
)
from pipelines.placement.model_memory import ModelShape, read_shape
from pipelines.placement.nvidia import NvidiaReport

RELEASE_SECONDS = 60.0
"""Time that a killed run's processes are given to leave the GPUs."""
POLL_SECONDS = 2.0


def require_accelerators(
    config: RunConfig,
    stages: Collection[str],
    checkpoint: Path,
    start_ray: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Require that the stages to come fit the machines, and say what fits only just.

    Args:
        config: the run's.
        stages: names of the stages to come.
        checkpoint: the base model's folder.
        start_ray: connects to the cluster that the configuration names.
        say: shows a line.

    Raises:
        MachineError: what does not fit, a line each.
    """
    computing = [stage for stage in (GENERATE, IMPROVE) if stage in stages]
    if not computing:
        return
    is_shared = bool(config.ray.address or os.environ.get("RAY_ADDRESS"))
    if is_shared:
        start_ray()

    def look() -> Cluster:
        if is_shared:
            return with_reports(ray_cluster(is_shared=True))
        return this_machine(config.ray.num_cpus)

    faults = _faults(config, computing, checkpoint, look, say)
    for fault in faults:
        if not fault.is_fatal:
            say(f"note: {fault.message}")
    fatal = [fault.message for fault in faults if fault.is_fatal]
    if fatal:
        raise MachineError("\n".join(fatal))


def _faults(
    config: RunConfig,
    stages: Sequence[str],
    checkpoint: Path,
    look: Callable[[], Cluster],
    say: Callable[[str], None],
) -> list[Fault]:
    """What does not fit: the builds, else the numbers and the memory, else who holds the memory."""
    cluster = look()
    faults = [
        fault
        for node in _with_engines(cluster)
        for fault in build_faults(node.build or installed_build(), node)
    ]
    faults = faults or config_faults(config, cluster, _shape(checkpoint), stages)
    if any(fault.is_fatal for fault in faults):
        return faults
    return [*faults, *_filled(config, stages, cluster, look, say)]


def _with_engines(cluster: Cluster) -> tuple[Node, ...]:
    """The nodes whose build of vLLM is looked at: those with GPUs; without any, one for them all."""
    if cluster.gpu_nodes:
        return tuple(node for node in cluster.gpu_nodes if node.report is not None)
    here = cluster.here
    if here is not None and here.report is not None:
        return (here,)
    report = NvidiaReport(problem="Ray counts none on any node")
    return (Node("the Ray cluster", cluster.num_cpus, report=report),)


def _filled(
    config: RunConfig,
    stages: Sequence[str],
    cluster: Cluster,
    look: Callable[[], Cluster],
    say: Callable[[str], None],
) -> list[Fault]:
    """The GPUs that are still filled after the processes of a killed run have had time to end."""
    deadline = time.monotonic() + RELEASE_SECONDS
    faults = filled_faults(config, cluster, stages)
    if faults:
        say("waiting for GPU memory that other processes hold")
    while faults and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        faults = filled_faults(config, look(), stages)
    needed = max(
        config.engine.replicas * config.engine.tensor_parallel, config.training.num_workers
    )
    # Ray gives a shared cluster's GPUs to others too, and then not to this run.
    enough = cluster.is_shared and cluster.num_gpus - len(faults) >= needed
    return [replace(fault, is_fatal=not enough) for fault in faults]


def _shape(checkpoint: Path) -> ModelShape | None:
    try:
        return read_shape(checkpoint)
    except InputError:
        return None
