"""Require that a run's engines and workers fit the machines, before anything is drawn or pinned."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from jobs.machine.sessions import names_a_ray_cluster, ray_answers, ray_session
from pipelines.config import RunConfig
from pipelines.config.secret import without_credentials
from pipelines.errors import InputError, MachineError
from pipelines.placement.builds import installed_build
from pipelines.placement.cluster import (
    Cluster,
    Node,
    ray_cluster,
    this_machine,
    with_reports,
    without_filled_gpus,
)
from pipelines.placement.faults import (
    GENERATE,
    IMPROVE,
    Fault,
    build_faults,
    config_faults,
    filled_faults,
    needed_gpus,
    needed_memory,
)
from pipelines.placement.model_memory import ModelShape, RowLengths, read_shape
from pipelines.placement.nvidia import VISIBLE_DEVICES, NvidiaReport, filled_gpus, visible_devices
from pipelines.placement.summary import placement_lines

RELEASE_SECONDS = 60.0
"""Time that a killed run's processes are given to leave the GPUs."""
POLL_SECONDS = 2.0

Say = Callable[[str], None]


def require_accelerators(
    config: RunConfig,
    stages: Collection[str],
    checkpoint: Path,
    lengths: RowLengths | None,
    start_ray: Callable[[], None],
    say: Say,
) -> None:
    """Require that the stages to come fit the machines, and say what fits only just.

    On this machine's own Ray, GPUs that others fill are hidden from the run (CUDA_VISIBLE_DEVICES of
    this process) if enough are left.

    Args:
        config: the run's.
        stages: names of the stages to come.
        checkpoint: the base model's folder.
        lengths: of the training rows to come; None if the prompts' lengths are not known.
        start_ray: connects to the cluster that the configuration names.
        say: shows a line.

    Raises:
        MachineError: what does not fit, a line each.
    """
    computing = _computing(stages)
    if not computing:
        return
    if names_a_ray_cluster(config.ray):
        start_ray()
    look = partial(_machines, config)
    cluster = look()
    faults = _faults(config, computing, cluster, _shape(checkpoint), lengths)
    if not any(fault.is_fatal for fault in faults):
        faults += _filled(config, computing, cluster, look, say)
    _refuse(faults, say)


def plan_accelerators(
    config: RunConfig,
    stages: Collection[str],
    checkpoint: Path | None,
    lengths: RowLengths | None,
    say: Say,
) -> list[str]:
    """What a run would place on the machines that can be seen from here, one line each.

    GPUs that others fill now are a warning: a run waits for them, and they may be free by then.

    Args:
        config: the run's.
        stages: names of the stages to come.
        checkpoint: the base model's folder; None if it is not on this machine.
        lengths: of the training rows to come; None if the prompts' lengths are not known.
        say: shows a warning.

    Raises:
        MachineError: the run would be refused; a line for each reason.
    """
    computing = _computing(stages)
    if not computing:
        return []
    if not names_a_ray_cluster(config.ray):
        cluster = _machines(config)
    elif ray_answers(config.ray):
        with ray_session(config.ray):
            cluster = _machines(config)
    else:
        address = without_credentials(config.ray.address or os.environ["RAY_ADDRESS"])
        return [f"not checked: the Ray cluster at {address}, which does not answer from here"]
    shape = _shape(checkpoint) if checkpoint else None
    faults = _faults(config, computing, cluster, shape, lengths)
    free = _without_filled(config, computing, cluster)
    if free != cluster:
        say(f"note: {_hidden(config, computing, cluster, free)[1]}")
    filled = filled_faults(config, free, computing)
    _refuse([*faults, *(replace(fault, is_fatal=False) for fault in filled)], say)
    return placement_lines(config, free, shape, computing, lengths)


def _computing(stages: Collection[str]) -> list[str]:
    return [stage for stage in (GENERATE, IMPROVE) if stage in stages]


def _machines(config: RunConfig) -> Cluster:
    """The cluster that the configuration names, which is connected to, or this machine."""
    if names_a_ray_cluster(config.ray):
        return with_reports(ray_cluster(is_shared=True))
    return this_machine(config.ray.num_cpus)


def _faults(
    config: RunConfig,
    stages: Sequence[str],
    cluster: Cluster,
    shape: ModelShape | None,
    lengths: RowLengths | None,
) -> list[Fault]:
    """What does not fit: the builds, else the numbers and the memory."""
    builds = [
        fault
        for node in _with_engines(cluster)
        for fault in build_faults(node.build or installed_build(), node)
    ]
    free = _without_filled(config, stages, cluster)
    return builds or config_faults(config, free, shape, stages, lengths)


def _with_engines(cluster: Cluster) -> tuple[Node, ...]:
    """The nodes whose build of vLLM is looked at: those with GPUs; without any, one for them all."""
    if cluster.gpu_nodes:
        return tuple(node for node in cluster.gpu_nodes if node.report is not None)
    here = cluster.here
    if here is not None and here.report is not None:
        return (here,)
    report = NvidiaReport(problem="Ray counts none on any node")
    return (Node("the Ray cluster", cluster.num_cpus, report=report),)


def _without_filled(config: RunConfig, stages: Sequence[str], cluster: Cluster) -> Cluster:
    _, share = needed_memory(config, stages)
    return without_filled_gpus(cluster, share, needed_gpus(config, stages))


def _filled(
    config: RunConfig,
    stages: Sequence[str],
    cluster: Cluster,
    look: Callable[[], Cluster],
    say: Say,
) -> list[Fault]:
    """The GPUs that are still filled after the processes of a killed run have had time to end.

    None, if the run can do without them; they are hidden from it then.
    """
    deadline = time.monotonic() + RELEASE_SECONDS
    free = _without_filled(config, stages, cluster)
    faults = filled_faults(config, free, stages)
    if faults:
        say("waiting for GPU memory that other processes hold")
    while faults and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        cluster = look()
        free = _without_filled(config, stages, cluster)
        faults = filled_faults(config, free, stages)
    if free != cluster:
        # For the Ray and the training workers that this process starts.
        os.environ[VISIBLE_DEVICES], said = _hidden(config, stages, cluster, free)
        say(f"note: {said}")
    # Ray gives a shared cluster's GPUs to others too, and then not to this run.
    left = cluster.num_gpus - len(faults)
    enough = cluster.is_shared and left >= needed_gpus(config, stages)
    return [replace(fault, is_fatal=not enough) for fault in faults]


def _hidden(
    config: RunConfig, stages: Sequence[str], cluster: Cluster, free: Cluster
) -> tuple[str, str]:
    """The CUDA_VISIBLE_DEVICES that hides this machine's filled GPUs, and a line that says so."""
    (before,), (after,) = cluster.gpu_nodes, free.gpu_nodes
    assert before.report is not None
    assert after.report is not None
    _, share = needed_memory(config, stages)
    visible = visible_devices(
        before.report.gpus, after.report.gpus, os.environ.get(VISIBLE_DEVICES)
    )
    held = "; ".join(filled_gpus(before.report, share))
    return visible, f"{held}; the run takes other GPUs ({VISIBLE_DEVICES}={visible})"


def _refuse(faults: Sequence[Fault], say: Say) -> None:
    """Say the faults that a run can live with.

    Raises:
        MachineError: the others, a line each.
    """
    for fault in faults:
        if not fault.is_fatal:
            say(f"note: {fault.message}")
    fatal = [fault.message for fault in faults if fault.is_fatal]
    if fatal:
        raise MachineError("\n".join(fatal))


def _shape(checkpoint: Path) -> ModelShape | None:
    try:
        return read_shape(checkpoint)
    except InputError:
        return None
