"""Generate (E-step): y ~ p_theta(y | x) for every prompt of an iteration, in one pass of the engine.

Ray Data hands chunks of prompts to engine actors; an actor draws a chunk, writes its rows as an
uncommitted file and returns the file's name, which the lake commits. A chunk is committed whole or
not at all, and what is not committed does not exist: a resumed stage asks the prompts that have no
committed samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.checkpoints.load import PolicyLoader
from pipelines.checkpoints.policy import PolicyRef
from pipelines.config import EngineConfig, ModelConfig, RunConfig
from pipelines.config.draws import covered, num_drawn
from pipelines.config.sizes import asked_sizes
from pipelines.config.suites import suites_of
from pipelines.errors import LakeError, StageFailed
from pipelines.lake.sql_text import sql_literal
from pipelines.runtime.progress import Task
from pipelines.sampling.chunk_drawer import DrawnChunk
from pipelines.sampling.chunks import (
    PROMPT_COLUMNS,
    answered_request,
    in_chunks,
    num_samples_of,
    pending_prompts,
    without,
)
from pipelines.sampling.engine_pool import draw_chunks
from pipelines.sampling.sampler import Sampler
from pipelines.sampling.taken import Taken, taken
from pipelines.sampling.vllm_sampler import VllmSampler
from pipelines.stage import (
    FileWriter,
    SealedElsewhere,
    Snapshot,
    StageContext,
    StreamStage,
    WrittenFile,
)
from pipelines.stages.policy import policy_of
from pipelines.workload import Amount, Workload
from schemas import POLICIES, PROMPTS, SAMPLES
from schemas.samples import ENGINE_KILLED

if TYPE_CHECKING:
    import pyarrow as pa

DTYPE = "engine.dtype"
NOT_SET = "not set"

_COMMITTED_COLUMNS = ["prompt_id", "policy_id", "finish_reason"]
_SLACK = 1e-9
"""Shares are not exact: without it, 7 samples of 100 could exceed 7 %."""

SamplerFactory = Callable[[], Sampler]


def generate(
    config: RunConfig, iteration: int, sampler_factory: SamplerFactory | None = None
) -> StreamStage:
    """The stage that makes `samples` from `prompts` and a policy.

    Args:
        config: the run's.
        iteration: whose prompts they are.
        sampler_factory: makes the sampler in each engine's process; a vLLM engine if None.

    Raises (in the stage):
        StageFailed: an engine did not start, or died too often by its own fault; or too many prompts
            kill it.
        LakeError: the engine's settings would draw other samples than the run's earlier ones, or
            the policy is another one than theirs.
        RestEMError: what the engine or the writer refused.
    """

    def draw(
        context: StageContext,
        prompts: Snapshot,
        policies: Snapshot,
        *,
        committed: Snapshot,
        writer: FileWriter,
    ) -> Iterator[list[WrittenFile]]:
        asked, there = prompts.arrow(PROMPT_COLUMNS), committed.arrow(_COMMITTED_COLUMNS)
        pending = pending_prompts(asked, there, config.model.max_model_len)
        if not pending.num_rows:
            return
        policy = policy_of(policies)
        _refuse_another_policy(there, policy, committed.iteration)
        _resolved(config.engine, context)
        for found in taken(pending, policy.policy_id, _drawn_alike(context)):
            _count_taken(context, found)
            pending = without(pending, found.rows)
            yield [writer.write(found.rows)]
        if not pending.num_rows:
            return
        engine = _resolved(config.engine, context)
        context.engines.start_ray()
        factory = sampler_factory or partial(
            _vllm_sampler, PolicyLoader.of(config), policy, config.model, engine
        )
        log = context.folder.resolve() / "logs" / f"generate-{policy.policy_id}.log"
        killed = _Killed(
            engine.max_killed_share,
            num_samples=num_samples_of(asked),
            num_killed=there["finish_reason"].to_pylist().count(ENGINE_KILLED),
            log=log,
        )
        control = answered_request(asked, there, config.model.max_model_len)
        chunks = in_chunks(pending, config.engine.prompts_per_commit)
        total = num_samples_of(pending)
        with context.progress.task("generate", total, "samples") as task:
            tally = _Tally(context, task)
            for drawn in draw_chunks(
                chunks, factory, policy.policy_id, writer, log, engine, control
            ):
                context.resolve(DTYPE, drawn.dtype)  # of the first engine; others must agree
                if drawn.killed_prompt is not None:
                    killed.add(drawn)
                    context.progress.say(
                        f"generate: prompt {drawn.killed_prompt} kills the engine: its "
                        f"{drawn.file.num_rows:,} samples have no solution (finish_reason "
                        f"{ENGINE_KILLED}); the engine's log is {log}"
                    )
                tally.add(drawn)
                yield [drawn.file]

    return StreamStage(
        name="generate",
        table=SAMPLES,
        reads=(PROMPTS, POLICIES),
        loads_policy=True,
        obsolete=lambda _, policies: f"policy_id <> {sql_literal(policy_of(policies).policy_id)}",
        function=draw,
        workload=_workload(config, iteration),
        covers=covered(config, iteration),
    )


def _vllm_sampler(
    loader: PolicyLoader, policy: PolicyRef, model: ModelConfig, engine: EngineConfig
) -> Sampler:
    """An engine of the policy, whose checkpoint is looked for on the engine's own machine."""
    return VllmSampler(str(loader.folder_of(policy)), model, engine)


def _drawn_alike(context: StageContext) -> Iterator[SealedElsewhere]:
    """Other runs' samples that were drawn with the settings of this run's engine.

    A number format that is left open becomes that of the first samples that are taken.
    """
    for other in context.sealed_elsewhere("generate"):
        own = {name: value for name, value in context.settings.items() if value != NOT_SET}
        theirs = {name: value for name, value in other.settings.items() if value != NOT_SET}
        if theirs == {DTYPE: theirs.get(DTYPE), **own}:
            yield other


def _count_taken(context: StageContext, found: Taken) -> None:
    """Say and measure how many samples are taken, in whose number format the others are drawn."""
    context.resolve(DTYPE, found.source.settings[DTYPE])
    num_rows = found.rows.num_rows
    context.progress.say(f"generate: {num_rows:,} samples are taken from run {found.source.run}")
    taken_before = context.measures.get("samples_taken", 0.0)
    context.measures["samples_taken"] = taken_before + num_rows


def _refuse_another_policy(samples: pa.Table, policy: PolicyRef, iteration: int) -> None:
    """Refuse to add to sealed samples of a policy that was lost, and trained again with other weights.

    Raises:
        LakeError: committed samples are of another policy.
    """
    others = {str(one) for one in samples["policy_id"].unique().to_pylist()} - {policy.policy_id}
    if others:
        raise LakeError(
            f"iteration {iteration}: its samples were drawn by policy {', '.join(sorted(others))}, "
            f"which was lost and trained again as {policy.policy_id}, with other weights; no samples "
            "can be added to it, so undo the change that asks for them, or choose another name with "
            "--name"
        )


def _resolved(engine: EngineConfig, context: StageContext) -> EngineConfig:
    """The engine's settings, with the number format of the run's earlier samples.

    Raises:
        LakeError: a setting that decides rows is another one than theirs.
    """
    given = engine.deciding
    if DTYPE in context.settings:  # there are samples: what they were drawn with is complete
        names = {*given, *(name for name in context.settings if name != DTYPE)}
        for name in sorted(names):
            context.settings.setdefault(name, NOT_SET)
            context.resolve(name, given.get(name, NOT_SET))
    else:
        context.settings.update(given)
    dtype = context.resolve(DTYPE, engine.given_dtype)
    extra = {name: value for name, value in engine.extra.items() if name != "dtype"}
    return engine.model_copy(update={"dtype": dtype, "extra": extra})


def _workload(config: RunConfig, iteration: int) -> Workload:
    numbers = num_drawn(config, iteration, list(asked_sizes(config)))
    drawn = Amount({purpose: sum(n) for purpose, n in numbers.items()})
    longest = {suite.name: suite.max_tokens for suite in suites_of(config)}
    tokens = {
        purpose: n * longest.get(purpose, config.sampling.max_tokens)
        for purpose, n in drawn.per_problem.items()
    }
    return Workload(
        rows=drawn,
        tokens=Amount(tokens, at_most=True),
        engine_starts=config.engine.replicas,
        chunked=Amount({purpose: len(n) for purpose, n in numbers.items()}),
        chunk_size=config.engine.prompts_per_commit,
    )


@dataclass
class _Killed:
    """Counts the samples whose prompt kills the engine, and holds them to their limit."""

    max_share: float
    num_samples: int
    """Of all prompts of the iteration."""
    num_killed: int
    """Those of earlier starts included."""
    log: Path

    def add(self, drawn: DrawnChunk) -> None:
        """Count a prompt's samples, before they are committed: refused, they are drawn again.

        Raises:
            StageFailed: they are too many.
        """
        self.num_killed += drawn.file.num_rows
        if self.num_killed > self.max_share * self.num_samples + _SLACK:
            share = math.ceil(1e4 * self.num_killed / self.num_samples) / 1e4
            raise StageFailed(
                f"generate: engine.max_killed_share must be at least {share:g} for the samples whose "
                f"prompts kill the engine ({self.num_killed:,} of {self.num_samples:,}), got "
                f"{self.max_share}; the last such prompt is {drawn.killed_prompt}, the engine's log "
                f"{self.log}; start the same command again once the engine is mended, or raise "
                "engine.max_killed_share"
            )


class _Tally:
    """Adds what the engines draw to the stage's measures, which hold earlier starts', and reports it."""

    def __init__(self, context: StageContext, task: Task) -> None:
        self._measures, self._task = context.measures, task
        self._before = dict(context.measures)
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
        measured = {
            "tokens": self._tokens,
            "prompt_tokens": self._prompt_tokens,
            "seconds_drawing": seconds,
            "engine_start_seconds": sum(self._starts.values()),
            "engine_starts": len(self._starts),
        }
        total = {name: self._before.get(name, 0.0) + value for name, value in measured.items()}
        rate = total["tokens"] / total["seconds_drawing"]
        self._measures.update(total | {"tokens_per_second": rate})
        self._task.advance(drawn.file.num_rows, f"{self._tokens / seconds:,.0f} tokens/s")
