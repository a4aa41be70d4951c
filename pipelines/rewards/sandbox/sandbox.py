"""A sandbox seen from outside: jobs go in one at a time, and how each ended comes out."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self

from pipelines.errors import StageFailed
from pipelines.rewards.sandbox import frames, launch
from pipelines.rewards.sandbox.program import NOT_CONFINED

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    seconds: float = 4.0
    """Wall time; the processor time is held to the same, rounded up."""
    memory_mb: int = 1024
    """Address space."""
    output_mb: int = 8
    """Standard output, and any file."""
    folder_mb: int = 16
    """All files of the private folder together."""
    open_files: int = 64
    threads: int = 32


class Ended(NamedTuple):
    """How a program ended."""

    why: str
    """`exited`, `killed` (by a signal of its own making), `late`, or `stopped` by us."""
    code: int
    """Exit code; a signal's number below 0."""
    seconds: float
    memory_mb: float


class Sandbox:
    """A warm interpreter behind walls that forks a process for each program.

    Args:
        kind: from `launch.choose`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, job: dict[str, Any], limits: Limits, descriptors: Sequence[int]) -> None:
        """Start a program; `finish` must be called before the next.

        Args:
            job: see `program`.
            limits: what it may use.
            descriptors: its standard input and output, its channel, its report.
        """
        if self._control is None:
            self._process, self._control = launch.spawn(self.kind)
        content = json.dumps({**job, "limits": asdict(limits)}).encode()
        header = len(content).to_bytes(4, "big")
        try:
            socket.send_fds(self._control, [header], list(descriptors))
            self._control.sendall(content)
        except OSError:
            self._lost()

    def finish(self) -> Ended:
        """Wait for the program's end.

        Raises:
            StageFailed: the sandbox itself ended, or could not be closed around the program.
        """
        assert self._control is not None, "finish without start"
        try:
            told = json.loads(frames.read_frame(self._control.fileno()))
        except (EOFError, OSError):
            self._lost()
        ended = Ended(told["why"], told["code"], told["seconds"], told["memory_mb"])
        if ended.code == NOT_CONFINED and ended.why == "exited":
            raise StageFailed("the sandbox could not be closed around a program; nothing was run")
        return ended

    def stop(self) -> None:
        """End the program now; `finish` says how it ended."""
        assert self._control is not None, "stop without start"
        with contextlib.suppress(OSError):
            frames.write_frame(self._control.fileno(), b'{"stop": true}')

    def close(self) -> None:
        """End the sandbox and what runs in it."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._control = None

    def _lost(self) -> NoReturn:
        self.close()
        raise StageFailed("the sandbox ended while a program ran; the next one starts another")


@contextlib.contextmanager
def input_file(content: bytes) -> Iterator[int]:
    """A descriptor to read `content` from, which nobody can change."""
    file = os.memfd_create("input", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(file, left) :]
        os.lseek(file, 0, os.SEEK_SET)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def output_file() -> Iterator[int]:
    """A descriptor to write to, for `written` to read; the limit on files is its limit."""
    file = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def written(file: int, limit: int) -> bytes:
    """What was written to an `output_file`, up to `limit` bytes."""
    return os.pread(file, limit, 0)


@contextlib.contextmanager
def nowhere() -> Iterator[int]:
    """A descriptor that reads nothing and keeps nothing."""
    file = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)
