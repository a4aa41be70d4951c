"""Score stored samples chunk by chunk: in the driver if they are few, else by Ray Data.

A chunk's verdicts are handed to `keep`, which writes them as a file or collects them. Up to
`LOCAL_SAMPLES` samples are scored with the driver's cores; more by Ray Data, with one actor per node
that holds a pool of workers. Both score the same chunks with the same function. A problem's samples
lie together, so that one pool sees its equal solutions and answers, and scores each of them once.
"""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.config import RewardConfig
from pipelines.errors import RestEMError
from pipelines.lake.sql_text import sql_list, sql_literal
from pipelines.rewards.resolve import (
    checker_failures,
    resolve_reward,
    text_reward,
    verifier_name,
    verifier_version,
)
from pipelines.rewards.verdict import Verdict
from pipelines.rewards.workers.pool import ScoringPool
from pipelines.rewards.workers.worker_process import Scored
from pipelines.runtime.hardware import usable_cores
from pipelines.runtime.progress import Progress, Task
from pipelines.stage import Snapshot, StageContext
from schemas.rewards import CORRECT, ERROR, NO_ANSWER, REWARD, REWARDS, TRUNCATED
from schemas.samples import ENGINE_ERROR, ENGINE_KILLED, LENGTH, PROMPT_TOO_LONG

if TYPE_CHECKING:
    import pyarrow as pa

LOCAL_SAMPLES = 20_000
"""Samples up to which the driver scores by itself: that takes about as long as Ray Data's start."""
CHUNK_SAMPLES = 10_000
"""Maximum number of samples per file: the most that is scored again after a kill."""
FIRST_CHUNK_SAMPLES = 16
"""Samples in the first file of a reward whose speed is not known yet."""
SECONDS_PER_CHUNK = 15.0
"""Time that a file of such a reward should take: the most that an interrupt loses, and the longest
time without a line of progress."""
_MAX_GROWTH = 8
"""Factor by which a file may be larger than the one before."""
_RAY_CHUNK_SAMPLES = 1_000
"""Samples per file of such a reward on Ray, where the size of all files is fixed before the first."""

_UNSOLVED = {
    PROMPT_TOO_LONG: Verdict(0.0, NO_ANSWER),
    ENGINE_KILLED: Verdict(0.0, NO_ANSWER),
    ENGINE_ERROR: Verdict(0.0, ERROR, detail="the engine drew no solution"),
}
"""Finish reasons of samples without a solution, which the reward is not given."""
_SAMPLE_COLUMNS = ["sample_id", "problem_id", "prompt_id", "finish_reason", "solution"]
_MAX_EXTRACTED = 1_000
_FAILURES_PER_CHUNK = 3
"""Maximum number of failures kept per chunk."""
_FAILURES_REPORTED = 10
"""Maximum number of failures reported per stage; the verdicts say which samples they are."""

Keep = Callable[["pa.Table"], Any]
"""What becomes of a chunk's rows of `rewards`; picklable, called where they were scored."""


@dataclass(frozen=True)
class Verifier:
    """A reward, with the name and version that its verdicts are stored under."""

    config: RewardConfig
    name: str
    version: str
    role: str = REWARD
    """See the column of `rewards`."""

    @classmethod
    def of(cls, config: RewardConfig, role: str = REWARD) -> Verifier:
        """The verifier that a configuration names.

        Raises:
            ConfigError: there is no such reward, or its options do not fit.
        """
        resolve_reward(config)
        return cls(config, verifier_name(config), verifier_version(config), role)


@dataclass(frozen=True)
class Chunk:
    """The scored samples of one file."""

    made: Any
    """What `keep` returned for the rows."""
    verdicts: dict[str, int]
    num_distinct: int
    """Distinct (solution, reference) pairs."""
    num_examined: int
    """Distinct pairs that a worker scored and that no earlier chunk had."""
    failures: list[str]
    """Some of the checker's messages where it failed."""


def pending(samples: Snapshot, prompts: Snapshot, committed: Snapshot, verifier: str) -> pa.Table:
    """Samples without a committed verdict of the verifier, as `to_score` gives them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    done = committed.arrow(["sample_id", "verifier"])
    return without_verdict(
        to_score(samples, prompts), done.filter(pc.equal(done["verifier"], pa.scalar(verifier)))
    )


def without_verdict(rows: pa.Table, verdicts: pa.Table) -> pa.Table:
    """The samples that are not among those of the verdicts."""
    import pyarrow.compute as pc

    done = verdicts["sample_id"].combine_chunks()
    return rows.filter(pc.invert(pc.is_in(rows["sample_id"], value_set=done)))


def obsolete(verifiers: Sequence[Verifier]) -> str:
    """The SQL condition on verdicts that are made again before their stage is sealed.

    These are the verdicts of another version of a verifier, and those on which it failed.
    """
    versions: dict[str, set[str]] = {}
    for verifier in verifiers:
        versions.setdefault(verifier.name, set()).add(verifier.version)
    failures = {verifier.name: checker_failures(verifier.config) for verifier in verifiers}
    return " OR ".join(
        f"(verifier = {sql_literal(name)} AND "
        f"(verifier_version NOT IN {sql_list(sorted(current))} OR "
        f"verdict IN {sql_list(failures[name])}))"
        for name, current in versions.items()
    )


def to_score(samples: Snapshot, prompts: Snapshot) -> pa.Table:
    """Samples in the order of their problems, each with its `reference` and `question`."""
    import pyarrow.compute as pc

    rows = samples.arrow(_SAMPLE_COLUMNS)
    rows = rows.sort_by([("problem_id", "ascending"), ("sample_id", "ascending")])
    shown = prompts.arrow(["prompt_id", "reference", "question"])
    place = pc.index_in(rows["prompt_id"], value_set=shown["prompt_id"].combine_chunks())
    assert place.null_count == 0, f"{place.null_count} samples answer a missing prompt"
    rows = rows.append_column("reference", shown["reference"].take(place))
    return rows.append_column("question", shown["question"].take(place)).drop_columns("prompt_id")


def scored_chunks(
    rows: pa.Table, verifier: Verifier, keep: Keep, context: StageContext, task: str = "score"
) -> Iterator[Chunk]:
    """Score rows of `to_score`, chunk by chunk, and add what was measured to the context.

    The context's measures are complete whenever a chunk is handed over: they travel with its commit.

    Args:
        rows: what to score.
        verifier: what scores them.
        keep: applied to each chunk's rows of `rewards`, the run's columns apart.
        context: progress, and Ray if there are more than LOCAL_SAMPLES rows.
        task: the name of the work in its progress.
    """
    start, chunks, before = time.monotonic(), list[Chunk](), dict(context.measures)
    if rows.num_rows > LOCAL_SAMPLES:
        context.engines.start_ray()
        scored = _chunks_by_ray(rows, verifier, keep)
    else:
        scored = _chunks_here(rows, verifier, keep)
    with context.progress.task(task, rows.num_rows, "samples") as shown:
        for chunk in scored:
            chunks.append(replace(chunk, made=None))
            _report(shown, context.progress, chunks)
            context.measures.update(_measures(before, chunks, verifier, time.monotonic() - start))
            yield chunk
    context.measures.update(_measures(before, chunks, verifier, time.monotonic() - start))


def _chunks_here(rows: pa.Table, verifier: Verifier, keep: Keep) -> Iterator[Chunk]:
    if rows.num_rows == 0:
        return
    compares_text = text_reward(verifier.config) is not None
    size = CHUNK_SAMPLES if compares_text else min(FIRST_CHUNK_SAMPLES, CHUNK_SAMPLES)
    done = 0
    with ScoringPool(verifier.config, usable_cores()) as pool:
        while done < rows.num_rows:
            start = time.monotonic()
            chunk = _score_chunk(rows.slice(done, size), pool, verifier, keep)
            growth = SECONDS_PER_CHUNK / max(time.monotonic() - start, 1e-9)
            yield chunk
            done += size
            if not compares_text:
                size = min(max(1, int(size * min(growth, _MAX_GROWTH))), CHUNK_SAMPLES)


def _chunks_by_ray(rows: pa.Table, verifier: Verifier, keep: Keep) -> Iterator[Chunk]:
    import ray.data

    compares_text = text_reward(verifier.config) is not None
    size = CHUNK_SAMPLES if compares_text else min(_RAY_CHUNK_SAMPLES, CHUNK_SAMPLES)
    starts = range(0, rows.num_rows, size)
    data = ray.data.from_arrow([rows.slice(first, size).combine_chunks() for first in starts])
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
    # Without prefetching, so that a chunk is committed as soon as it is scored.
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
    distinct, by_worker = pool.num_distinct_pairs, pool.num_scored_by_worker
    scored = _score(rows, pool, verifier.role)
    failed = checker_failures(verifier.config)
    failures = [
        s.verdict.detail for s in scored if s.verdict.detail and s.verdict.verdict in failed
    ]
    return Chunk(
        made=keep(reward_rows(rows, scored, verifier)),
        verdicts=dict(Counter(s.verdict.verdict for s in scored)),
        num_distinct=pool.num_distinct_pairs - distinct,
        num_examined=pool.num_scored_by_worker - by_worker,
        failures=[text for text, _ in Counter(failures).most_common(_FAILURES_PER_CHUNK)],
    )


def _score(rows: pa.Table, pool: ScoringPool, role: str) -> list[Scored]:
    """A verdict for each row, in order; a benchmark's own check is not corrected for cut samples."""
    samples = rows.select(["finish_reason", "solution", "reference", "question"]).to_pylist()
    solved = [sample for sample in samples if sample["finish_reason"] not in _UNSOLVED]
    given = iter(
        pool.score(
            [(sample["solution"], sample["reference"]) for sample in solved],
            [sample["question"] for sample in solved],
        )
    )
    scored = []
    for sample in samples:
        reason = sample["finish_reason"]
        found = Scored(_UNSOLVED[reason], 0.0) if reason in _UNSOLVED else next(given)
        if role == REWARD and reason == LENGTH and was_cut(sample["solution"], found.verdict):
            truncated = Verdict(0.0, TRUNCATED, found.verdict.extracted)
            found = found._replace(verdict=truncated)
        scored.append(found)
    return scored


def was_cut(solution: str, verdict: Verdict) -> bool:
    """Whether a solution that ran out of tokens lacks its answer, or may have lost part of it.

    "#### 12" at the very end may be the start of 125; a closed box is complete.
    """
    if verdict.verdict == NO_ANSWER:
        return True
    return verdict.extracted is not None and solution.rstrip().endswith(verdict.extracted)


def reward_rows(rows: pa.Table, scored: list[Scored], verifier: Verifier) -> pa.Table:
    """Rows of `rewards`, without the columns that every table of a run has."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        "sample_id": rows["sample_id"],
        "problem_id": rows["problem_id"],
        "verifier": [verifier.name] * len(scored),
        "verifier_version": [verifier.version] * len(scored),
        "role": [verifier.role] * len(scored),
        "reward": [s.verdict.reward for s in scored],
        "verdict": [s.verdict.verdict for s in scored],
        "extracted": [s.verdict.extracted and s.verdict.extracted[:_MAX_EXTRACTED] for s in scored],
        "detail": [s.verdict.detail for s in scored],
        "milliseconds": [s.milliseconds for s in scored],
    }
    return pa.table(columns, schema=REWARDS.arrow_schema(partition_columns=False))


def _report(task: Task, progress: Progress, chunks: list[Chunk]) -> None:
    verdicts = _verdicts(chunks)
    share = verdicts[CORRECT] / verdicts.total()
    task.advance(sum(chunks[-1].verdicts.values()), note=f"{share:.1%} correct")
    reported = {failure for chunk in chunks[:-1] for failure in chunk.failures}
    for failure in chunks[-1].failures:
        if failure not in reported and len(reported) < _FAILURES_REPORTED:
            reported.add(failure)
            progress.say(f"score: the checker failed: {failure}")


def _verdicts(chunks: list[Chunk]) -> Counter[str]:
    verdicts = Counter[str]()
    for chunk in chunks:
        verdicts.update(chunk.verdicts)
    return verdicts


def _measures(
    before: Mapping[str, float], chunks: list[Chunk], verifier: Verifier, seconds: float
) -> dict[str, float]:
    """The sums of earlier starts and shares, and of these chunks."""
    verdicts = _verdicts(chunks)
    failed = checker_failures(verifier.config)
    measured = {
        "samples": float(verdicts.total()),
        "distinct_pairs": float(sum(chunk.num_distinct for chunk in chunks)),
        "examined": float(sum(chunk.num_examined for chunk in chunks)),
        "seconds": seconds,
        "checker_failures": float(sum(verdicts[name] for name in failed)),
        **{f"verdict_{name}": float(count) for name, count in verdicts.items()},
    }
    total = {name: before.get(name, 0.0) + value for name, value in measured.items()}
    return total | {"per_second": total["samples"] / max(total["seconds"], 1e-9)}
