"""What a run would place on a cluster, in words: engines, training workers, and what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pipelines.config import RunConfig, TrainingConfig
from pipelines.placement.cluster import Cluster, Node
from pipelines.placement.engines import EnginePlacement, place_engines
from pipelines.placement.faults import GENERATE, IMPROVE
from pipelines.placement.fit import engine_fit, rows_of_a_worker, training_format, worker_fit
from pipelines.placement.model_memory import (
    CONTEXT_BYTES,
    ModelShape,
    PassSize,
    RowLengths,
    in_gib,
    kv_bytes_per_token,
    state_bytes,
    weight_bytes,
)
from pipelines.placement.nvidia import number_format
from pipelines.placement.training import (
    CPU_TOKENS_PER_PASS,
    TrainingPlacement,
    place_training,
    rows_per_pass,
)


def placement_lines(
    config: RunConfig,
    cluster: Cluster,
    shape: ModelShape | None,
    stages: Sequence[str],
    lengths: RowLengths | None = None,
) -> list[str]:
    """One line per machine, and two for the engines and two for the training workers.

    Args:
        config: the run's; it fits the cluster, see `config_faults`.
        cluster: the machines.
        shape: the base model's; None if it is not known: then nothing is said of memory.
        stages: the stages to come.
        lengths: of the training rows to come; None if the prompts' lengths are not known.

    Raises:
        ConfigError: it does not fit.
    """
    lines = [_machine(node) for node in cluster.nodes]
    if GENERATE in stages:
        engines = place_engines(cluster, config.engine)
        lines.append(_engines(engines))
        lines += _engine_memory(config, cluster, shape, engines)
    if IMPROVE in stages:
        workers = place_training(cluster, config.training)
        lines.append(_workers(config, workers))
        lines += _worker_memory(config, cluster, shape, workers, lengths)
    return lines


def _machine(node: Node) -> str:
    reported = node.report.gpus if node.report else ()
    memory = (
        (gpu.name, f"{gpu.total_mib / 1024:.0f} GiB" if gpu.total_mib else "") for gpu in reported
    )
    kinds = [f"{number} {' '.join(kind).strip()}" for kind, number in Counter(memory).items()]
    gpus = f", {_count(node.gpus, 'GPU')}" if node.gpus else ", no GPU"
    return f"{node.name}: {_count(node.cpus, 'core')}{gpus}" + (
        f" ({', '.join(kinds)})" if kinds else ""
    )


def _engines(placed: EnginePlacement) -> str:
    on = _count(placed.num_gpus, "GPU") if placed.num_gpus else _cores(placed.num_cpus)
    return f"generate: {_count(placed.num_engines, 'engine')} on {on}{_each(placed.num_engines)}"


def _workers(config: RunConfig, placed: TrainingPlacement) -> str:
    on = _count(placed.num_gpus, "GPU") if placed.num_gpus else _cores(placed.num_cpus)
    return (
        f"improve: {_count(placed.num_workers, 'worker')} on {on}{_each(placed.num_workers)}, "
        f"started by {config.training.launcher}"
    )


def _engine_memory(
    config: RunConfig, cluster: Cluster, shape: ModelShape | None, placed: EnginePlacement
) -> Iterator[str]:
    if shape is None:
        return
    if placed.num_gpus:
        fit = engine_fit(config, cluster, shape)
        if fit is None:
            return
        dtype, weights, per_token = fit.dtype, fit.memory.weights, fit.memory.kv_bytes_per_token
        cache, tokens = fit.memory.kv_tokens * per_token, fit.memory.kv_tokens
        of = f" of the {in_gib(fit.memory.budget)} on each GPU (engine.gpu_memory_utilization)"
    else:
        dtype = number_format(config.engine.dtype, ())
        weights = weight_bytes(shape, dtype, placed.num_processes)
        per_token = kv_bytes_per_token(shape, dtype, placed.num_processes)
        cache, of = int(config.engine.kv_cache_gib * 2**30), " (engine.kv_cache_gib)"
        tokens = cache // per_token
    length = config.model.max_model_len
    yield (
        f"  an engine: {in_gib(weights)} of weights in {dtype} and {in_gib(cache)} of KV cache{of}; "
        f"{tokens:,} tokens, {tokens // length:,} solutions of model.max_model_len = {length:,} at once "
        f"(engine.max_num_seqs = {config.engine.max_num_seqs})"
    )


def _worker_memory(
    config: RunConfig,
    cluster: Cluster,
    shape: ModelShape | None,
    placed: TrainingPlacement,
    lengths: RowLengths | None,
) -> Iterator[str]:
    if shape is None:
        return
    asked, limit = config.training.rows_per_pass, config.model.max_model_len
    if not placed.num_gpus:
        dtype = training_format(config.training.dtype, ())
        state = state_bytes(shape, dtype) - CONTEXT_BYTES
        yield (
            f"  a worker: {in_gib(state)} of memory for weights, gradients and AdamW "
            f"({_per_parameter(state, shape)}), {dtype} products, "
            f"{_pass_of_a_processor(config.training)} per pass"
        )
        return
    fit = worker_fit(config, cluster, shape)
    if fit is None:
        return
    longest = min(fit.longest, lengths.longest if lengths else limit)
    largest = PassSize(rows_of_a_worker(config), longest, 0)
    rows = asked or rows_per_pass(shape, fit.dtype, fit.budget, largest)
    more = "; shorter rows allow more" if asked is None and rows < largest.rows else ""
    yield (
        f"  a worker: {in_gib(fit.state)} of weights, gradients, AdamW "
        f"({_per_parameter(fit.state - CONTEXT_BYTES, shape)}) and context, and "
        f"{in_gib(fit.row_bytes(longest, rows))} for {rows} rows of {longest:,} tokens per pass in "
        f"{fit.dtype}, of the {in_gib(fit.budget)} on each GPU "
        f"(training.gpu_memory_utilization){more}"
    )


def _pass_of_a_processor(training: TrainingConfig) -> str:
    tokens = training.max_tokens_per_pass or CPU_TOKENS_PER_PASS
    rows = "" if training.rows_per_pass is None else f"{training.rows_per_pass} rows or "
    return f"{rows}{tokens:,} tokens"


def _per_parameter(state: int, shape: ModelShape) -> str:
    return f"{state // shape.num_parameters} bytes for each of {shape.num_parameters:,} parameters"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _cores(number: float) -> str:
    return _count(int(number), "core")


def _each(number: int) -> str:
    return " each" if number > 1 else ""
