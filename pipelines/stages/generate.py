"""Generate (E-step): y ~ p_theta(y | x) for every prompt of an iteration, in one pass of the engine.

Ray Data hands chunks of prompts to engine actors; an actor draws a chunk, writes its rows as an
uncommitted file and returns the file's name, which the lake commits. A chunk is committed whole or
not at all, and what is not committed does not exist: a resumed stage asks the prompts that have no
committed samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from pipelines.config import EngineConfig, ModelConfig, RunConfig
from pipelines.runtime.progress import Progress, Task
from pipelines.sampling.chunk_drawer import DrawnChunk
from pipelines.sampling.chunks import PROMPT_COLUMNS, pending_chunks
from pipelines.sampling.engine_pool import draw_chunks
from pipelines.sampling.sampler import Sampler
from pipelines.stage import FileWriter, Snapshot, StreamStage, WrittenFile
from pipelines.tuning.checkpoint import PolicyRef

SamplerFactory = Callable[[], Sampler]


def generate(
    config: RunConfig,
    policy: PolicyRef,
    progress: Progress,
    start_ray: Callable[[], None],
    sampler_factory: SamplerFactory | None = None,
) -> StreamStage:
    """The stage that makes `samples` from `prompts`.

    Args:
        config: the run's.
        policy: theta.
        progress: told the samples drawn.
        start_ray: connects to Ray; called if there are prompts to answer.
        sampler_factory: makes the sampler in each engine's process; a vLLM engine if None.

    Raises (in the stage):
        StageFailed: an engine died more than `engine.max_restarts` times, or did not start.
        RestEMError: what the engine or the writer refused.
    """
    measures: dict[str, float] = {}
    log = config.folder.resolve() / "logs" / f"generate-{policy.policy_id}.log"

    def draw(
        prompts: Snapshot, *, committed: Snapshot, writer: FileWriter
    ) -> Iterator[list[WrittenFile]]:
        chunks = pending_chunks(
            prompts.arrow(PROMPT_COLUMNS),
            committed.arrow(["prompt_id"]),
            config.engine.prompts_per_commit,
        )
        total = sum(sum(chunk["num_samples"].to_pylist()) for chunk in chunks)
        if not chunks:
            return
        start_ray()
        factory = sampler_factory or partial(
            vllm_sampler, policy.checkpoint_uri, config.model, config.engine
        )
        with progress.task("generate", total, "samples") as task:
            tally = _Tally(measures, task)
            for drawn in draw_chunks(chunks, factory, policy.policy_id, writer, log, config.engine):
                tally.add(drawn)
                yield [drawn.file]

    return StreamStage("generate", draw, measures)


def vllm_sampler(checkpoint: str, model: ModelConfig, engine: EngineConfig) -> Sampler:
    """A vLLM engine on what Ray gave this process: its GPUs, or its cores."""
    import ray

    from pipelines.sampling.vllm_sampler import VllmSampler

    return VllmSampler(checkpoint, model, engine, use_gpu=bool(ray.get_gpu_ids()))


class _Tally:
    """Counts what the engines did into the stage's measures, and reports it."""

    def __init__(self, measures: dict[str, float], task: Task) -> None:
        self._measures, self._task = measures, task
        self._tokens = self._prompt_tokens = 0
        self._began, self._ended = float("inf"), 0.0
        self._starts: dict[str, float] = {}

    def add(self, drawn: DrawnChunk) -> None:
        self._tokens += drawn.num_tokens
        self._prompt_tokens += drawn.num_prompt_tokens
        self._began = min(self._began, drawn.began)
        self._ended = max(self._ended, drawn.ended)
        self._starts[drawn.engine] = drawn.engine_start_seconds
        seconds = max(self._ended - self._began, 1e-9)
        rate = self._tokens / seconds
        self._measures.update(
            tokens=self._tokens,
            prompt_tokens=self._prompt_tokens,
            seconds_drawing=seconds,
            tokens_per_second=rate,
            engine_start_seconds=sum(self._starts.values()),
            engine_starts=len(self._starts),
        )
        self._task.advance(drawn.file.num_rows, f"{rate:,.0f} tokens/s")
