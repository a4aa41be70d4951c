"""Rewards under a deadline: worker processes that can be killed, and a parent that holds the clock.

No pair is judged twice: equal pairs of a call share one verdict, and what a worker answered is
remembered for the calls after it.

A worker that misses the deadline is killed and replaced while its neighbors go on; the sample it
was at is a `timeout`. A worker that ends by itself costs the sample it was at (`error`, or `memory`)
and nothing else. Workers are plain subprocesses, so the pool works in any thread of any process,
Ray's workers included, and the kernel ends them when the pool's process ends.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipelines.errors import RestEMError
from pipelines.rewards.resolve import staged_reward
from pipelines.rewards.workers.worker_process import Pair, Round, Scored, WorkerProcess
from schemas.rewards import ERROR, MEMORY

if TYPE_CHECKING:
    from pipelines.config import RewardConfig

BATCH = 32
"""Most samples handed to a worker at once: enough to hide the socket's cost."""
PER_WORKER = 100
"""Undecided answers for which one more worker of a built-in reward is worth its start (1.5 s)."""
REMEMBERED = 200_000
"""Verdicts of workers kept for later calls, about 0.5 KB each."""

_BY_CHANCE = (MEMORY, ERROR)
"""Not remembered: a worker may have been ended from outside, and the next one may not be."""


class ScoringPool:
    """Scores (solution, reference) pairs.

    A built-in reward decides most pairs here, in bounded time (see `MathAnswer.glance`); the rest,
    and every pair of a user's function, goes to the workers.

    Args:
        config: the reward, its deadline and its memory limit.
        num_workers: worker processes at most.
    """

    def __init__(self, config: RewardConfig, num_workers: int) -> None:
        assert num_workers >= 1, f"num_workers must be >= 1, got {num_workers}"
        self._config = config
        self._num_workers = num_workers
        self._staged = staged_reward(config)
        self._answered: dict[bytes, Scored] = {}
        self.num_glanced = self.num_asked = 0
        """Distinct (solution, reference) pairs seen, by call, and questions put to a worker."""
        self._workers: list[WorkerProcess] = []
        # The kernel ends a worker with the *thread* that started it: one thread, old as the pool.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring-pool")

    def __enter__(self) -> Self:
        if self._staged is None:
            self._start(self._num_workers)
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

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def score(self, items: Sequence[Pair], asked: Sequence[str] | None = None) -> list[Scored]:
        """A verdict for each (solution, reference), in order; equal pairs are judged once.

        Args:
            items: the pairs.
            asked: the question of each; `math_answer` takes no answer that only repeats it.

        Raises:
            InputError: the user's reward cannot be loaded.
            StageFailed: workers end before they can judge anything.
        """
        known: dict[Pair, Scored] = {}
        questions: dict[Pair, Pair] = {}
        distinct = dict.fromkeys(items)
        self.num_glanced += len(distinct)
        for item in distinct:
            seen = self._glance(item)
            if isinstance(seen, Scored):
                known[item] = seen
            else:
                questions[item] = seen
        answers = self._examine(list(dict.fromkeys(questions.values())))
        known.update((item, answers[question]) for item, question in questions.items())
        scored = [known[item] for item in items]
        if asked is None or self._staged is None:
            return scored
        return [
            given._replace(verdict=self._staged.knowing(given.verdict, reference, question))
            for given, (_, reference), question in zip(scored, items, asked, strict=True)
        ]

    def _glance(self, item: Pair) -> Scored | Pair:
        """A verdict, or what to ask a worker."""
        if self._staged is None:
            return item
        start = time.perf_counter()
        seen = self._staged.glance(*item)
        if isinstance(seen, str):
            return seen, item[1]
        return Scored(seen, (time.perf_counter() - start) * 1000)

    def _examine(self, questions: list[Pair]) -> dict[Pair, Scored]:
        places = {question: _digest(question) for question in questions}
        known = {q: self._answered[place] for q, place in places.items() if place in self._answered}
        answers = self._ask([question for question in questions if question not in known])
        if len(self._answered) + len(answers) > REMEMBERED:
            self._answered.clear()
        for question, scored in answers.items():
            if scored.verdict.verdict not in _BY_CHANCE:
                self._answered[places[question]] = scored
        return known | answers

    def _ask(self, questions: list[Pair]) -> dict[Pair, Scored]:
        if not questions:
            return {}
        self.num_asked += len(questions)
        wanted = self._num_workers
        if self._staged is not None:
            wanted = min(wanted, 1 + len(questions) // PER_WORKER)
        self._start(wanted)
        this = Round(questions, batch=_batch_size(len(questions), len(self._workers)))
        try:
            while not this.finished:
                self._step(this)
        except RestEMError:  # some have ended, and some are at questions nobody waits for
            self._end_workers()
            raise
        return this.answers

    def _step(self, this: Round) -> None:
        """Hand out questions, wait for news, replace workers that ended or hang."""
        for worker in [worker for worker in self._workers if worker.idle]:
            if not worker.alive:
                self._replace(worker)
            else:
                worker.hand(this.take())
        busy = [worker for worker in self._workers if not worker.idle]
        first = min(worker.deadline for worker in busy)
        ready = wait([w.channel for w in busy], timeout=max(0.0, first - time.monotonic()))
        for worker in busy:
            lives = worker.collect(this) if worker.channel in ready else worker.in_time(this)
            if not lives:
                self._replace(worker)

    def _replace(self, worker: WorkerProcess) -> None:
        self._workers.remove(worker)
        worker.end()
        self._start(len(self._workers) + 1)

    def _start(self, num_workers: int) -> None:
        while len(self._workers) < num_workers:
            self._workers.append(self._starter.submit(WorkerProcess, self._config).result())


def _digest(pair: Pair) -> bytes:
    """What a pair is remembered by: programs and references are too long to keep."""
    first, second = (text.encode("utf-8", "surrogatepass") for text in pair)
    return hashlib.blake2b(b"%d:" % len(first) + first + second, digest_size=16).digest()


def num_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _batch_size(num_questions: int, num_workers: int) -> int:
    """Batches small enough that all workers end at about the same time."""
    return max(1, min(BATCH, num_questions // (4 * num_workers)))
