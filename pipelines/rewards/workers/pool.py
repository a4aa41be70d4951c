"""Scoring under a deadline, in worker processes that can be killed.

No pair is scored twice: equal pairs of a call share one verdict, and workers' verdicts are cached
for later calls.

A worker that misses the deadline is killed and replaced while the others go on; the pair that it was
scoring gets the verdict `timeout`. If a worker ends by itself, only the pair that it was scoring is
affected (`error`, or `memory`). Workers are plain subprocesses, so the pool works in any thread of
any process, Ray's workers included, and the kernel ends them when the pool's process ends.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipelines.errors import RestEMError
from pipelines.rewards.resolve import text_reward
from pipelines.rewards.verdict import Verdict
from pipelines.rewards.workers.worker_process import Pair, PairQueue, Scored, WorkerProcess
from schemas.rewards import ERROR, MEMORY

if TYPE_CHECKING:
    from pipelines.config import RewardConfig

MAX_BATCH = 32
"""Maximum number of pairs sent to a worker at once: enough to hide the socket's cost."""
PAIRS_PER_WORKER = 100
"""Undecided pairs of a text reward that justify one more worker, whose start takes 1.5 s."""
MAX_CACHED = 200_000
"""Maximum number of workers' verdicts cached for later calls, about 0.5 KB each."""

_NOT_CACHED = (MEMORY, ERROR)
"""These may come from outside, such as a worker that another process killed: score again."""


class ScoringPool:
    """Scores (solution, reference) pairs.

    Rewards that compare text score most pairs in this process, in bounded time (see
    `MathAnswer.score_by_text`). Workers score the rest, and all pairs of other rewards.

    Args:
        config: the reward, its deadline and its memory limit.
        num_workers: maximum number of worker processes.
    """

    def __init__(self, config: RewardConfig, num_workers: int) -> None:
        assert num_workers >= 1, f"num_workers must be >= 1, got {num_workers}"
        self.num_distinct_pairs = 0
        """Distinct (solution, reference) pairs per call, summed over calls."""
        self.num_scored_by_worker = 0
        """Pairs sent to a worker; cached ones are not sent again."""
        self._config = config
        self._num_workers = num_workers
        self._text_reward = text_reward(config)
        self._cache: dict[bytes, Scored] = {}
        self._workers: list[WorkerProcess] = []
        # The kernel ends a worker with the *thread* that started it: one thread as old as the pool.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring-pool")

    def __enter__(self) -> Self:
        if self._text_reward is None:
            self._start_workers(self._num_workers)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self._end_workers()
        self._starter.shutdown()

    def score(self, pairs: Sequence[Pair], questions: Sequence[str] | None = None) -> list[Scored]:
        """A verdict per (solution, reference) pair, in order; equal pairs are scored once.

        Args:
            pairs: what to score.
            questions: the question of each pair; `math_answer` rejects an answer that repeats it.

        Raises:
            InputError: the user's reward cannot be loaded.
            StageFailed: workers end before they can score anything.
        """
        distinct = dict.fromkeys(pairs)
        self.num_distinct_pairs += len(distinct)
        scored: dict[Pair, Scored] = {}
        undecided: dict[Pair, Pair] = {}
        for pair in distinct:
            if self._text_reward is None:
                undecided[pair] = pair
                continue
            start = time.perf_counter()
            result = self._text_reward.score_by_text(*pair)
            if isinstance(result, Verdict):
                scored[pair] = Scored(result, (time.perf_counter() - start) * 1000)
            else:
                undecided[pair] = (result, pair[1])
        by_worker = self._score_with_cache(list(dict.fromkeys(undecided.values())))
        scored.update((pair, by_worker[sent]) for pair, sent in undecided.items())
        results = [scored[pair] for pair in pairs]
        if questions is None or self._text_reward is None:
            return results
        reject_echo = self._text_reward.reject_echo
        return [
            given._replace(verdict=reject_echo(given.verdict, reference, question))
            for given, (_, reference), question in zip(results, pairs, questions, strict=True)
        ]

    def _score_with_cache(self, pairs: list[Pair]) -> dict[Pair, Scored]:
        keys = {pair: _digest(pair) for pair in pairs}
        cached = {pair: self._cache[key] for pair, key in keys.items() if key in self._cache}
        new = self._score_by_worker([pair for pair in pairs if pair not in cached])
        if len(self._cache) + len(new) > MAX_CACHED:
            self._cache.clear()
        for pair, scored in new.items():
            if scored.verdict.verdict not in _NOT_CACHED:
                self._cache[keys[pair]] = scored
        return cached | new

    def _score_by_worker(self, pairs: list[Pair]) -> dict[Pair, Scored]:
        if not pairs:
            return {}
        self.num_scored_by_worker += len(pairs)
        num_workers = self._num_workers
        if self._text_reward is not None:
            num_workers = min(num_workers, 1 + len(pairs) // PAIRS_PER_WORKER)
        self._start_workers(num_workers)
        # Batches small enough that all workers finish at about the same time.
        batch_size = max(1, min(MAX_BATCH, len(pairs) // (4 * len(self._workers))))
        queue = PairQueue(pairs, batch_size)
        try:
            while not queue.finished:
                self._step(queue)
        except RestEMError:  # some workers have ended; the others hold pairs of this call
            self._end_workers()
            raise
        return queue.scored

    def _step(self, queue: PairQueue) -> None:
        """Send pairs to idle workers, wait for messages, replace workers that ended or hang."""
        for worker in [worker for worker in self._workers if worker.idle]:
            if worker.alive:
                worker.send(queue.next_batch())
            else:
                self._replace(worker)
        busy = [worker for worker in self._workers if not worker.idle]
        first = min(worker.deadline for worker in busy)
        ready = wait([w.channel for w in busy], timeout=max(0.0, first - time.monotonic()))
        for worker in busy:
            is_ready = worker.channel in ready
            alive = worker.receive(queue) if is_ready else worker.kill_if_late(queue)
            if not alive:
                self._replace(worker)

    def _replace(self, worker: WorkerProcess) -> None:
        self._workers.remove(worker)
        worker.kill()
        self._start_workers(len(self._workers) + 1)

    def _start_workers(self, num_workers: int) -> None:
        while len(self._workers) < num_workers:
            self._workers.append(self._starter.submit(WorkerProcess, self._config).result())

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()


def _digest(pair: Pair) -> bytes:
    """A pair's key in the cache: programs and references are too long to keep."""
    first, second = (text.encode("utf-8", "surrogatepass") for text in pair)
    return hashlib.blake2b(b"%d:" % len(first) + first + second, digest_size=16).digest()
