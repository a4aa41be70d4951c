"""The sandbox as its user sees it: start one job at a time, and get how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import NoReturn

from pipelines.errors import StageFailed
from pipelines.rewards.sandbox import cgroup, frames, launch
from pipelines.rewards.sandbox.cgroup import Cgroup
from pipelines.rewards.sandbox.isolation import Limits
from pipelines.rewards.sandbox.program import NOT_CONFINED, Job
from pipelines.rewards.sandbox.zygote import EXITED, Ended

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class Sandbox:
    """A started, isolated interpreter that forks a process per program; started when first used.

    Args:
        kind: from `launch.choose`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._cgroup: Cgroup | None = None

    def start(self, job: Job, limits: Limits, descriptors: Sequence[int]) -> None:
        """Start a program; call `finish` or `stop` before the next.

        Args:
            job: what to run.
            limits: what it may use.
            descriptors: standard input, standard output, channel and report, in that order.
        """
        if self._control is None:
            self._cgroup = cgroup.make(limits)
            self._process, self._control = launch.spawn(self.kind, self._cgroup)
        content = json.dumps({"job": asdict(job), "limits": asdict(limits)}).encode()
        header = len(content).to_bytes(4, "big")
        try:
            socket.send_fds(self._control, [header], list(descriptors))
            self._control.sendall(content)
        except OSError:
            self._lost()

    def finish(self) -> Ended:
        """Wait until the program ends; returns how it ended.

        Raises:
            StageFailed: the sandbox itself ended, or could not confine the program.
        """
        assert self._control is not None, "finish without start"
        try:
            message = json.loads(frames.read_frame(self._control.fileno()))
        except (EOFError, OSError):
            self._lost()
        ended = Ended(**message)
        if ended.code == NOT_CONFINED and ended.why == EXITED:
            raise StageFailed("the sandbox could not confine a program; the program was not run")
        return ended

    def stop(self) -> Ended:
        """End the program if it still runs; returns how it ended, as `finish` does."""
        assert self._control is not None, "stop without start"
        with contextlib.suppress(OSError):
            frames.write_frame(self._control.fileno(), b'{"stop": true}')
        return self.finish()

    def close(self) -> None:
        """End the sandbox and everything that runs in it."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._cgroup is not None:
            self._cgroup.remove()
        self._process = self._control = self._cgroup = None

    def _lost(self) -> NoReturn:
        self.close()
        raise StageFailed(
            "the sandbox ended while a program ran; the next program starts a new one"
        )


@contextlib.contextmanager
def input_file(content: bytes) -> Iterator[int]:
    """A descriptor to read `content` from, sealed against changes."""
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
    """A descriptor to write to, for `read_output`; the limit on files applies to it."""
    file = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def read_output(file: int, limit: int) -> bytes:
    """The first `limit` bytes written to an `output_file`."""
    return os.pread(file, limit, 0)


@contextlib.contextmanager
def null_device() -> Iterator[int]:
    """A descriptor of /dev/null."""
    file = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)
