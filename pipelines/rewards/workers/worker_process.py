"""A scoring worker as its parent sees it: the pairs it was sent, since when, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import InputError, StageFailed
from pipelines.rewards.resolve import reward_options
from pipelines.rewards.verdict import Verdict
from pipelines.runtime.parent_death import environment_for_child
from schemas.rewards import ERROR, MEMORY, TIMEOUT

if TYPE_CHECKING:
    from pipelines.config import RewardConfig

START_SECONDS = 120.0
"""Longest time for a worker to import the reward."""
EXIT_SECONDS = 5.0
"""Longest time between the end of a worker's socket and the end of its process."""

Pair = tuple[str, str]
"""A solution, or an answer that text could not decide, and its reference."""


class Scored(NamedTuple):
    """A verdict and the time it took."""

    verdict: Verdict
    milliseconds: float


class PairQueue:
    """The pairs of one call that wait for a worker, and the verdicts given so far.

    Args:
        pairs: the distinct pairs to score.
        batch_size: maximum number of pairs sent to a worker at once.
    """

    def __init__(self, pairs: Sequence[Pair], batch_size: int) -> None:
        self.scored: dict[Pair, Scored] = {}
        self._num_pairs = len(pairs)
        self._batch_size = batch_size
        self._waiting = deque(pairs)

    @property
    def finished(self) -> bool:
        """Whether every pair has its verdict."""
        return len(self.scored) == self._num_pairs

    def next_batch(self) -> list[Pair]:
        """Remove and return the next pairs; empty if none waits."""
        number = min(self._batch_size, len(self._waiting))
        return [self._waiting.popleft() for _ in range(number)]

    def put_back(self, pairs: Sequence[Pair]) -> None:
        """Put pairs that were not scored back at the front."""
        self._waiting.extendleft(reversed(pairs))


class WorkerProcess:
    """A process running `pipelines.rewards.workers.worker`.

    Args:
        config: the reward, its deadline and its memory limit.
    """

    def __init__(self, config: RewardConfig) -> None:
        self._timeout = config.timeout_seconds
        self.channel, theirs = Pipe()
        self._process = _spawn(theirs)
        theirs.close()
        self._batch: deque[Pair] = deque()
        self._started = False
        self._since = time.monotonic()
        self._send([config.function, dict(reward_options(config)), config.memory_limit_mb])

    @property
    def idle(self) -> bool:
        """Whether it waits for pairs."""
        return self._started and not self._batch

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def deadline(self) -> float:
        """When it must have sent its next message, on the monotonic clock."""
        return self._since + (self._timeout if self._started else START_SECONDS)

    def send(self, batch: Sequence[Pair]) -> None:
        """Send pairs to an idle worker."""
        if batch:
            self._batch.extend(batch)
            self._since = time.monotonic()
            self._send(batch)

    def receive(self, queue: PairQueue) -> bool:
        """Read the messages that have arrived; returns whether the worker is alive.

        Raises:
            InputError: it could not load the user's reward.
            StageFailed: it ended during its start.
        """
        try:
            while self.channel.poll():
                message = json.loads(self.channel.recv_bytes())
                if isinstance(message, list):
                    *fields, milliseconds = message
                    queue.scored[self._batch.popleft()] = Scored(Verdict(*fields), milliseconds)
                    self._since = time.monotonic()
                elif "failed" in message:
                    raise InputError(message["failed"])
                else:
                    self._started = True
        except (EOFError, OSError):
            self._handle_exit(queue)
            return False
        return True

    def kill_if_late(self, queue: PairQueue) -> bool:
        """Kill the worker if it is past its deadline; returns whether it is alive.

        Raises:
            StageFailed: its start took too long.
        """
        # Messages may have arrived while other workers were served: they are read first.
        if time.monotonic() < self.deadline or self.channel.poll():
            return True
        self.kill()
        if not self._started:
            raise StageFailed(
                f"reward.function: a scoring worker was not ready after {START_SECONDS:.0f} s; "
                "import less in the reward's module"
            )
        self._give_up(TIMEOUT, f"no verdict within {self._timeout:g} s", queue)
        return False

    def kill(self) -> int:
        """Kill the process and its children; returns its exit code."""
        if self.channel.closed:
            return self._process.wait()
        with contextlib.suppress(ProcessLookupError):  # it has ended, and so have its children
            os.killpg(self._process.pid, signal.SIGKILL)
        self.channel.close()
        return self._process.wait()

    def _handle_exit(self, queue: PairQueue) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_SECONDS)
        ended_by_itself = not self.alive
        code = self.kill()
        if not self._started:
            raise StageFailed(
                f"reward.function: a scoring worker ended while it was starting (exit code {code}); "
                "import the reward's module by hand to see why"
            )
        if self._batch:
            # SIGKILL that we did not send comes from the kernel, out of memory.
            out_of_memory = ended_by_itself and code == -signal.SIGKILL
            verdict = MEMORY if out_of_memory else ERROR
            self._give_up(verdict, f"the worker ended with exit code {code}", queue)

    def _give_up(self, verdict: str, detail: str, queue: PairQueue) -> None:
        """Give the pair that the worker was scoring this verdict; put the others back."""
        milliseconds = (time.monotonic() - self._since) * 1000
        pair = self._batch.popleft()
        queue.scored[pair] = Scored(Verdict(0.0, verdict, detail=detail), milliseconds)
        queue.put_back(self._batch)
        self._batch.clear()

    def _send(self, message: object) -> None:
        # If it has ended, `receive` notices.
        with contextlib.suppress(OSError):
            self.channel.send_bytes(json.dumps(message).encode())


def _spawn(channel: Connection) -> subprocess.Popen[bytes]:
    number = channel.fileno()
    folders = [str(Path(folder).absolute()) for folder in sys.path]
    environment = {
        **os.environ,
        **environment_for_child(),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(folders)),
        "PYTHONHASHSEED": "0",  # sympy's orders depend on it: the same verdict in every process
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.rewards.workers.worker", str(number)],
        pass_fds=[number],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
