"""Score: a verdict for every sample (the E-step's reward).

Samples whose verdict is already committed are left out, so a stage that was stopped goes on where it
was. Few samples are scored here, with the driver's processors; many by Ray Data, with one actor a
node that holds a pool of workers. Both score the same chunks with the same function. A problem's
samples lie together, so that one pool sees its equal solutions and answers, and judges each once.
"""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.config import RewardConfig, RunConfig
from pipelines.errors import RestEMError
from pipelines.rewards.resolve import (
    checker_failures,
    resolve_reward,
    verifier_name,
    verifier_version,
)
from pipelines.rewards.verdict import Verdict
from pipelines.rewards.workers.pool import ScoringPool, num_processors
from pipelines.rewards.workers.worker_process import Scored
from pipelines.runtime.progress import Progress, Task
from pipelines.stage import FileWriter, Snapshot, StreamStage, WrittenFile
from schemas.prompts import question_of
from schemas.rewards import CORRECT, ERROR, NO_ANSWER, REWARDS, TRUNCATED
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
"""Of a chunk."""
_TOLD_FAILURES = 10
"""Of a stage; the verdicts say which samples they are."""


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
    """Verdicts that were given to as many samples as a file holds."""

    made: Any
    """What `keep` made of their rows."""
    verdicts: dict[str, int]
    num_distinct: int
    """Distinct (solution, reference) pairs."""
    num_examined: int
    """What of them was put to a worker: distinct, and not asked before."""
    failures: list[str]
    """What the checker said where it failed, a few of them."""


def score(
    config: RunConfig, progress: Progress, start_ray: Callable[[], None], task: str = "score"
) -> StreamStage:
    """The stage that makes `rewards` of `samples` and `prompts`.

    Args:
        config: the run's.
        progress: told the samples scored.
        start_ray: connects to Ray; called if the samples are many.
        task: what the work is called while it goes on.

    Raises:
        ConfigError: the reward cannot be used as it is configured.
    """
    verifier = Verifier.of(config.reward)
    measures: dict[str, float] = {}

    def give_verdicts(
        samples: Snapshot, prompts: Snapshot, *, committed: Snapshot, writer: FileWriter
    ) -> Iterator[list[WrittenFile]]:
        rows = pending(samples, prompts, committed, verifier.name)
        for chunk in scored_chunks(
            rows, verifier, writer.write, progress, measures, start_ray, task
        ):
            yield [chunk.made]

    return StreamStage("score", give_verdicts, measures)


def pending(samples: Snapshot, prompts: Snapshot, committed: Snapshot, verifier: str) -> pa.Table:
    """Samples without a committed verdict of the verifier, as `to_score` gives them."""
    import pyarrow.compute as pc

    done = committed.arrow(["sample_id", "verifier"])
    done_ids = done.filter(pc.equal(done["verifier"], verifier))["sample_id"]
    rows = to_score(samples, prompts)
    return rows.filter(pc.invert(pc.is_in(rows["sample_id"], value_set=done_ids.combine_chunks())))


def to_score(samples: Snapshot, prompts: Snapshot) -> pa.Table:
    """Samples in the order of their problems, each with its `reference` and what was `asked`."""
    import pyarrow.compute as pc

    rows = samples.arrow(_SAMPLE_COLUMNS)
    rows = rows.sort_by([("problem_id", "ascending"), ("sample_id", "ascending")])
    shown = prompts.arrow(["prompt_id", "reference", "text", "num_shared_chars"])
    place = pc.index_in(rows["prompt_id"], value_set=shown["prompt_id"].combine_chunks())
    assert place.null_count == 0, f"{place.null_count} samples answer a prompt that is not there"
    rows = rows.append_column("reference", shown["reference"].take(place))
    return rows.append_column("asked", _asked(shown).take(place)).drop_columns("prompt_id")


def _asked(prompts: pa.Table) -> pa.Array:
    """Each prompt's text behind what all prompts share: its question."""
    import pyarrow as pa

    texts, shared = prompts["text"].to_pylist(), prompts["num_shared_chars"].to_pylist()
    return pa.array(map(question_of, texts, shared), pa.string())


Keep = Callable[["pa.Table"], Any]
"""What becomes of a chunk's rows of `rewards`; picklable, called where they were scored."""


def scored_chunks(
    rows: pa.Table,
    verifier: Verifier,
    keep: Keep,
    progress: Progress,
    measures: dict[str, float],
    start_ray: Callable[[], None],
    task: str = "score",
) -> Iterator[Chunk]:
    """Score rows of `to_score`, chunk by chunk.

    Args:
        rows: what to score.
        verifier: what scores them.
        keep: applied to each chunk's rows of `rewards`, the run's columns apart.
        progress: told the samples scored, and what the checker said where it failed.
        measures: filled at the end.
        start_ray: connects to Ray; called if there are more than LOCAL_SAMPLES rows.
        task: what the work is called while it goes on.
    """
    start, chunks = time.monotonic(), []
    with progress.task(task, rows.num_rows, "samples") as shown:
        for chunk in _chunks(rows, verifier, keep, start_ray):
            chunks.append(replace(chunk, made=None))
            _report(shown, progress, chunks)
            yield chunk
    measures.update(_measures(chunks, verifier, time.monotonic() - start))


def _chunks(
    rows: pa.Table, verifier: Verifier, keep: Keep, start_ray: Callable[[], None]
) -> Iterator[Chunk]:
    if rows.num_rows > LOCAL_SAMPLES:
        start_ray()
        return _chunks_by_ray(rows, verifier, keep)
    return _chunks_here(rows, verifier, keep)


def _chunks_here(rows: pa.Table, verifier: Verifier, keep: Keep) -> Iterator[Chunk]:
    if rows.num_rows == 0:
        return
    with ScoringPool(verifier.config, num_processors()) as pool:
        for first in range(0, rows.num_rows, CHUNK_SAMPLES):
            yield _score_chunk(rows.slice(first, CHUNK_SAMPLES), pool, verifier, keep)


def _chunks_by_ray(rows: pa.Table, verifier: Verifier, keep: Keep) -> Iterator[Chunk]:
    import ray.data

    starts = range(0, rows.num_rows, CHUNK_SAMPLES)
    data = ray.data.from_arrow(
        [rows.slice(first, CHUNK_SAMPLES).combine_chunks() for first in starts]
    )
    data.context.enable_progress_bars = False
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    cpus = [number for number in cpus if number]
    # One file a block (`batch_size=None` hands each over whole); an actor fills its node.
    scored = data.map_batches(
        _Scorer,
        fn_constructor_args=(verifier, keep, min(cpus)),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=min(cpus),
        compute=ray.data.ActorPoolStrategy(size=min(len(cpus), len(starts))),
    )
    # Without prefetching: a chunk is to be committed when it is there.
    for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for pickled in batch["chunk"].to_pylist():
            chunk = pickle.loads(pickled)
            if isinstance(chunk, RestEMError):
                raise chunk
            yield chunk


class _Scorer:
    """A node's actor: scores a block and keeps its verdicts."""

    def __init__(self, verifier: Verifier, keep: Keep, num_workers: int) -> None:
        self._verifier, self._keep = verifier, keep
        self._pool = ScoringPool(verifier.config, num_workers)

    def __call__(self, block: pa.Table) -> pa.Table:
        import pyarrow as pa

        chunk: Chunk | RestEMError
        try:
            chunk = _score_chunk(block, self._pool, self._verifier, self._keep)
        except RestEMError as error:
            chunk = error  # Ray Data keeps nothing of an exception but its text
        return pa.table({"chunk": [pickle.dumps(chunk)]})


def _score_chunk(rows: pa.Table, pool: ScoringPool, verifier: Verifier, keep: Keep) -> Chunk:
    glanced, asked = pool.num_glanced, pool.num_asked
    scored = _judge(rows, pool)
    failed = checker_failures(verifier.config)
    failures = [
        s.verdict.detail for s in scored if s.verdict.detail and s.verdict.verdict in failed
    ]
    return Chunk(
        made=keep(reward_rows(rows, scored, verifier)),
        verdicts=dict(Counter(s.verdict.verdict for s in scored)),
        num_distinct=pool.num_glanced - glanced,
        num_examined=pool.num_asked - asked,
        failures=[text for text, _ in Counter(failures).most_common(_SHOWN_FAILURES)],
    )


def _judge(rows: pa.Table, pool: ScoringPool) -> list[Scored]:
    """A verdict for each row, in order."""
    reasons = rows["finish_reason"].to_pylist()
    solutions = rows["solution"].to_pylist()
    references = rows["reference"].to_pylist()
    questions = rows["asked"].to_pylist()
    solved = [number for number, reason in enumerate(reasons) if reason not in _UNSOLVED]
    verdicts = pool.score(
        [(solutions[number], references[number]) for number in solved],
        [questions[number] for number in solved],
    )
    scored = [Scored(_UNSOLVED[reason], 0.0) if reason in _UNSOLVED else None for reason in reasons]
    for number, given in zip(solved, verdicts, strict=True):
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


def _report(task: Task, progress: Progress, chunks: list[Chunk]) -> None:
    verdicts = _verdicts(chunks)
    share = verdicts[CORRECT] / verdicts.total()
    task.advance(sum(chunks[-1].verdicts.values()), note=f"{share:.1%} correct")
    told = {failure for chunk in chunks[:-1] for failure in chunk.failures}
    for failure in chunks[-1].failures:
        if failure not in told and len(told) < _TOLD_FAILURES:
            told.add(failure)
            progress.say(f"score: the checker failed: {failure}")


def _verdicts(chunks: list[Chunk]) -> Counter[str]:
    verdicts = Counter[str]()
    for chunk in chunks:
        verdicts.update(chunk.verdicts)
    return verdicts


def _measures(chunks: list[Chunk], verifier: Verifier, seconds: float) -> dict[str, float]:
    verdicts = _verdicts(chunks)
    named = {f"verdict_{name}": float(count) for name, count in verdicts.items()}
    failed = checker_failures(verifier.config)
    return {
        "samples": float(verdicts.total()),
        "distinct_pairs": float(sum(chunk.num_distinct for chunk in chunks)),
        "examined": float(sum(chunk.num_examined for chunk in chunks)),
        "seconds": seconds,
        "per_second": verdicts.total() / max(seconds, 1e-9),
        "checker_failures": float(sum(verdicts[name] for name in failed)),
        **named,
    }
