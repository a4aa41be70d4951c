"""Score: a verdict for every sample (the E-step's reward).

Samples whose verdict is already committed are left out, so a stage that was stopped goes on where it
was. Few samples are scored here, with the driver's processors; many by Ray Data, with one actor a
node that holds a pool of workers. Both score the same chunks with the same function.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.config import RewardConfig, RunConfig
from pipelines.progress import Progress, Task
from pipelines.rewards.pool import ScoringPool, num_processors
from pipelines.rewards.resolve import resolve_reward, verifier_name, verifier_version
from pipelines.rewards.verdict import Verdict
from pipelines.rewards.worker_process import Scored
from pipelines.stage import FileWriter, Snapshot, StreamStage, WrittenFile
from schemas.rewards import CHECKER_FAILURES, CORRECT, ERROR, NO_ANSWER, REWARDS, TRUNCATED
from schemas.samples import ENGINE_ERROR, LENGTH, PROMPT_TOO_LONG

if TYPE_CHECKING:
    import pyarrow as pa

LOCAL_SAMPLES = 20_000
"""Up to so many samples are scored in the driver: that takes about as long as Ray Data's start."""
CHUNK_SAMPLES = 10_000
"""Samples a file: what is scored again at most after a kill."""

_UNSOLVED = {
    PROMPT_TOO_LONG: Verdict(0.0, NO_ANSWER),
    ENGINE_ERROR: Verdict(0.0, ERROR, detail="the engine drew no solution"),
}
"""Samples that hold no solution are not shown to the reward."""
_SAMPLE_COLUMNS = ["sample_id", "problem_id", "prompt_id", "finish_reason", "solution"]
_MAX_EXTRACTED = 1_000
_SHOWN_FAILURES = 3


@dataclass(frozen=True)
class Verifier:
    """The reward of a run, and what its verdicts are stored under."""

    config: RewardConfig
    name: str
    version: str

    @classmethod
    def of(cls, config: RewardConfig) -> Verifier:
        """The verifier that a configuration names.

        Raises:
            ConfigError: there is none of that name, or its options do not fit.
        """
        resolve_reward(config)
        return cls(config, verifier_name(config), verifier_version(config))


@dataclass(frozen=True)
class Chunk:
    """A file of verdicts that was written, and what they were."""

    file: WrittenFile
    verdicts: dict[str, int]
    failures: list[str]
    """What the checker said where it failed, a few of them."""


def score(config: RunConfig, progress: Progress) -> StreamStage:
    """The stage that makes `rewards` of `samples` and `prompts`.

    Raises:
        ConfigError: the reward cannot be used as it is configured.
    """
    verifier = Verifier.of(config.reward)
    measures: dict[str, float] = {}
    return StreamStage("score", partial(_score, verifier, progress, measures), measures)


def _score(
    verifier: Verifier,
    progress: Progress,
    measures: dict[str, float],
    samples: Snapshot,
    prompts: Snapshot,
    *,
    committed: Snapshot,
    writer: FileWriter,
) -> Iterator[list[WrittenFile]]:
    start, verdicts = time.monotonic(), Counter[str]()
    rows = pending(samples, prompts, committed, verifier.name)
    with progress.task("score", rows.num_rows, "samples") as task:
        for chunk in _chunks(rows, verifier, writer):
            verdicts.update(chunk.verdicts)
            _report(task, progress, chunk, verdicts)
            yield [chunk.file]
    measures.update(_measures(verdicts, time.monotonic() - start))


def pending(samples: Snapshot, prompts: Snapshot, committed: Snapshot, verifier: str) -> pa.Table:
    """Samples without a committed verdict of the verifier, each with its prompt's `reference`."""
    import pyarrow.compute as pc

    rows = samples.arrow(_SAMPLE_COLUMNS)
    done = committed.arrow(["sample_id", "verifier"])
    done_ids = done.filter(pc.equal(done["verifier"], verifier))["sample_id"]
    rows = rows.filter(pc.invert(pc.is_in(rows["sample_id"], value_set=done_ids.combine_chunks())))
    asked = prompts.arrow(["prompt_id", "reference"])
    place = pc.index_in(rows["prompt_id"], value_set=asked["prompt_id"].combine_chunks())
    assert place.null_count == 0, f"{place.null_count} samples answer a prompt that is not there"
    return rows.append_column("reference", asked["reference"].take(place)).drop_columns("prompt_id")


def _chunks(rows: pa.Table, verifier: Verifier, writer: FileWriter) -> Iterator[Chunk]:
    if rows.num_rows > LOCAL_SAMPLES:
        return _chunks_by_ray(rows, verifier, writer)
    return _chunks_here(rows, verifier, writer)


def _chunks_here(rows: pa.Table, verifier: Verifier, writer: FileWriter) -> Iterator[Chunk]:
    if rows.num_rows == 0:
        return
    with ScoringPool(verifier.config, num_processors()) as pool:
        for first in range(0, rows.num_rows, CHUNK_SAMPLES):
            yield _score_chunk(rows.slice(first, CHUNK_SAMPLES), pool, verifier, writer)


def _chunks_by_ray(rows: pa.Table, verifier: Verifier, writer: FileWriter) -> Iterator[Chunk]:
    import ray.data

    blocks = [rows.slice(first, CHUNK_SAMPLES) for first in range(0, rows.num_rows, CHUNK_SAMPLES)]
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    cpus = [number for number in cpus if number]
    # One file a block (`batch_size=None` hands each over whole); an actor fills its node.
    written = ray.data.from_arrow(blocks).map_batches(
        _Scorer,
        fn_constructor_args=(verifier, writer, min(cpus)),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=min(cpus),
        compute=ray.data.ActorPoolStrategy(size=min(len(cpus), len(blocks))),
    )
    for row in written.iter_rows():
        yield row["chunk"]


class _Scorer:
    """A node's actor: scores a block and writes its verdicts."""

    def __init__(self, verifier: Verifier, writer: FileWriter, num_workers: int) -> None:
        self._verifier, self._writer = verifier, writer
        self._pool = ScoringPool(verifier.config, num_workers)

    def __call__(self, block: pa.Table) -> dict[str, Any]:
        import numpy as np

        chunk = np.empty(1, dtype=object)
        chunk[0] = _score_chunk(block, self._pool, self._verifier, self._writer)
        return {"chunk": chunk}


def _score_chunk(
    rows: pa.Table, pool: ScoringPool, verifier: Verifier, writer: FileWriter
) -> Chunk:
    scored = _judge(rows, pool)
    failures = [s.verdict.detail for s in scored if s.verdict.detail]
    return Chunk(
        file=writer.write(reward_rows(rows, scored, verifier)),
        verdicts=dict(Counter(s.verdict.verdict for s in scored)),
        failures=[text for text, _ in Counter(failures).most_common(_SHOWN_FAILURES)],
    )


def _judge(rows: pa.Table, pool: ScoringPool) -> list[Scored]:
    """A verdict for each row, in order."""
    reasons = rows["finish_reason"].to_pylist()
    solutions = rows["solution"].to_pylist()
    references = rows["reference"].to_pylist()
    asked = [number for number, reason in enumerate(reasons) if reason not in _UNSOLVED]
    verdicts = pool.score([(solutions[number], references[number]) for number in asked])
    scored = [Scored(_UNSOLVED[reason], 0.0) if reason in _UNSOLVED else None for reason in reasons]
    for number, given in zip(asked, verdicts, strict=True):
        cut = reasons[number] == LENGTH and was_cut(solutions[number], given.verdict)
        scored[number] = given._replace(verdict=_truncated(given.verdict)) if cut else given
    return [given for given in scored if given is not None]


def was_cut(solution: str, verdict: Verdict) -> bool:
    """Whether a solution that ran out of tokens lacks its answer, or may have lost its end.

    "#### 12" at the very end may have been going to be 125; a closed box may not.
    """
    if verdict.verdict == NO_ANSWER:
        return True
    return verdict.extracted is not None and solution.rstrip().endswith(verdict.extracted)


def _truncated(verdict: Verdict) -> Verdict:
    return Verdict(0.0, TRUNCATED, verdict.extracted)


def reward_rows(rows: pa.Table, scored: list[Scored], verifier: Verifier) -> pa.Table:
    """Rows of `rewards`, without the columns that every table of a run has."""
    import pyarrow as pa

    schema = REWARDS.arrow_schema()
    columns = {
        "sample_id": rows["sample_id"],
        "problem_id": rows["problem_id"],
        "verifier": [verifier.name] * len(scored),
        "verifier_version": [verifier.version] * len(scored),
        "reward": [s.verdict.reward for s in scored],
        "verdict": [s.verdict.verdict for s in scored],
        "extracted": [s.verdict.extracted and s.verdict.extracted[:_MAX_EXTRACTED] for s in scored],
        "milliseconds": [s.milliseconds for s in scored],
    }
    fields = [field for field in schema if field.name not in REWARDS.partition_by]
    return pa.table([columns[field.name] for field in fields], schema=pa.schema(fields))


def _report(task: Task, progress: Progress, chunk: Chunk, verdicts: Counter[str]) -> None:
    share = verdicts[CORRECT] / verdicts.total()
    task.advance(chunk.file.num_rows, note=f"{share:.1%} correct")
    for failure in chunk.failures:
        progress.say(f"score: the checker failed: {failure}")


def _measures(verdicts: Counter[str], seconds: float) -> dict[str, float]:
    named = {f"verdict_{name}": float(count) for name, count in verdicts.items()}
    return {
        "samples": float(verdicts.total()),
        "seconds": seconds,
        "per_second": verdicts.total() / max(seconds, 1e-9),
        "checker_failures": float(sum(verdicts[name] for name in CHECKER_FAILURES)),
        **named,
    }
