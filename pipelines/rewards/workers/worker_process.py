"""A scoring worker seen from its parent: what it was asked, since when, and how it ended."""

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
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import InputError, StageFailed
from pipelines.rewards.resolve import reward_options
from pipelines.rewards.verdict import Verdict
from schemas.rewards import ERROR, MEMORY, TIMEOUT

if TYPE_CHECKING:
    from pipelines.config import RewardConfig

START_SECONDS = 120.0
"""Longest time for a worker to import the reward."""
EXIT_SECONDS = 5.0
"""Longest time between a worker's hanging up and its end."""

Pair = tuple[str, str]


class Scored(NamedTuple):
    """A verdict and what it took."""

    verdict: Verdict
    milliseconds: float


@dataclass
class Round:
    """The questions of one call: which wait, and what was answered."""

    questions: list[Pair]
    batch: int
    answers: dict[Pair, Scored] = field(default_factory=dict)
    _waiting: deque[Pair] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._waiting.extend(self.questions)

    @property
    def finished(self) -> bool:
        """Whether every question is answered."""
        return len(self.answers) == len(self.questions)

    def take(self) -> list[Pair]:
        """The next batch; empty if none waits."""
        return [self._waiting.popleft() for _ in range(min(self.batch, len(self._waiting)))]

    def give_back(self, questions: Sequence[Pair]) -> None:
        """Put questions that were not answered at the front again."""
        self._waiting.extendleft(reversed(questions))


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
        self._send(
            {
                "function": config.function,
                "options": reward_options(config),
                "memory_limit_mb": config.memory_limit_mb,
            }
        )

    @property
    def idle(self) -> bool:
        """Whether it waits for questions."""
        return self._started and not self._batch

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def deadline(self) -> float:
        """When it must have sent its next message, on the monotonic clock."""
        return self._since + (self._timeout if self._started else START_SECONDS)

    def hand(self, batch: list[Pair]) -> None:
        """Give an idle worker its next questions."""
        if batch:
            self._batch.extend(batch)
            self._since = time.monotonic()
            self._send(batch)

    def collect(self, this: Round) -> bool:
        """Take in the messages that have arrived; whether the worker lives.

        Raises:
            InputError: it could not load the user's reward.
            StageFailed: it ended while it was starting.
        """
        try:
            while self.channel.poll():
                self._receive(json.loads(self.channel.recv_bytes()), this)
        except (EOFError, OSError):
            self._hung_up(this)
            return False
        return True

    def in_time(self, this: Round) -> bool:
        """Kill a worker past its deadline; whether it lives.

        Raises:
            StageFailed: it did not finish starting.
        """
        # Messages may have come while others were served: those are read before it is judged.
        if time.monotonic() < self.deadline or self.channel.poll():
            return True
        if not self._started:
            self.end()
            raise StageFailed(
                f"reward.function: a scoring worker was not ready after {START_SECONDS:.0f} s; "
                "import less in the reward's module"
            )
        self.end()
        self._give_up(TIMEOUT, f"no verdict within {self._timeout:g} s", this)
        return False

    def end(self) -> int:
        """Kill the process and all that it started; its exit code."""
        if self.channel.closed:
            return self._process.wait()
        with contextlib.suppress(ProcessLookupError):  # it has ended, and so have its children
            os.killpg(self._process.pid, signal.SIGKILL)
        self.channel.close()
        return self._process.wait()

    def _receive(self, message: object, this: Round) -> None:
        if isinstance(message, dict):
            if "failed" in message:
                raise InputError(message["failed"])
            self._started = True
            return
        assert isinstance(message, list), f"a worker sent {message!r}"
        reward, verdict, extracted, detail, milliseconds = message
        question = self._batch.popleft()
        this.answers[question] = Scored(Verdict(reward, verdict, extracted, detail), milliseconds)
        self._since = time.monotonic()

    def _hung_up(self, this: Round) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_SECONDS)
        ended_by_itself = not self.alive
        code = self.end()
        if not self._started:
            raise StageFailed(
                f"reward.function: a scoring worker ended while it was starting (exit code {code}); "
                "import the reward's module by hand to see why"
            )
        if self._batch:
            # SIGKILL from outside is the kernel's, when memory runs out.
            out_of_memory = ended_by_itself and code == -signal.SIGKILL
            verdict = MEMORY if out_of_memory else ERROR
            self._give_up(verdict, f"the worker ended with exit code {code}", this)

    def _give_up(self, verdict: str, detail: str, this: Round) -> None:
        """Blame the question the worker was at; give the others back."""
        question = self._batch.popleft()
        milliseconds = (time.monotonic() - self._since) * 1000
        this.answers[question] = Scored(Verdict(0.0, verdict, detail=detail), milliseconds)
        this.give_back(self._batch)
        self._batch.clear()

    def _send(self, message: object) -> None:
        # If it has ended, reading its channel says so, in one place.
        with contextlib.suppress(OSError):
            self.channel.send_bytes(json.dumps(message).encode())


def _spawn(channel: Connection) -> subprocess.Popen[bytes]:
    number = channel.fileno()
    folders = [str(Path(folder).absolute()) for folder in sys.path]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(folders)),
        "PYTHONHASHSEED": "0",  # sympy's orders follow it: the same verdict in every process
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.rewards.workers.worker", str(number), str(os.getpid())],
        pass_fds=[number],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
