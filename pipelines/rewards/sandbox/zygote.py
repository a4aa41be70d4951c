"""The process that programs are forked from: a started, isolated interpreter.

It runs one job at a time: forks, waits, and reports how the program ended. It keeps the time: a
program past its deadline is killed with everything in its PID namespace. It runs no job's code
itself.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import time
from typing import NamedTuple, NoReturn

from pipelines.rewards.sandbox import frames, isolation, program
from pipelines.rewards.sandbox.isolation import Limits
from pipelines.rewards.sandbox.program import Job

EXITED, KILLED, LATE, STOPPED = "exited", "killed", "late", "stopped"
_CONTROL = 3
_NUMBERS = (0, 1, program.CHANNEL, program.REPORT)
_ASIDE = 40
"""Above every descriptor of this process, below the limit on open files."""


class Ended(NamedTuple):
    """How a program ended."""

    why: str
    """`EXITED`, `KILLED` (by a signal not sent by us), `LATE`, or `STOPPED` by us."""
    code: int
    """Exit code, or the negative number of the signal."""
    seconds: float
    memory_mb: float


def main(kind: str, folders: list[str], control: int) -> None:
    """Serve the parent at the other end of a socket until it closes."""
    if control != _CONTROL:
        os.dup2(control, _CONTROL)
        os.close(control)
    program.preload()
    try:
        proc = isolation.enter(kind, folders)
    except OSError as error:
        _send({"failed": str(error)})
        return
    gc.collect()
    gc.freeze()
    failed = _try_confining(proc)
    _send({"failed": failed} if failed else {"ready": True})
    with contextlib.suppress(EOFError, ConnectionError), socket.socket(fileno=_CONTROL) as channel:
        while True:
            _serve(channel, proc)


def _try_confining(proc: int | None) -> str | None:
    """Why a program cannot be confined on this machine; None if it can."""
    limits = Limits(seconds=1, memory_mb=1024, output_mb=1, folder_mb=1, open_files=64, threads=4)
    reads, writes = os.pipe()
    owner = os.geteuid(), os.getegid()
    try:
        process = isolation.fork_confined(proc)
    except OSError as error:
        return str(error)
    if process == 0:
        try:
            isolation.confine(proc, owner, limits)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is reported
            os.write(writes, f"{type(error).__name__}: {error}".encode()[:1000])
        finally:
            os._exit(0)
    os.close(writes)
    with open(reads, "rb") as report:  # noqa: PTH123 - a descriptor
        failed = report.read().decode(errors="replace")
    os.waitpid(process, 0)
    return failed or None


def _serve(control: socket.socket, proc: int | None) -> None:
    begun, descriptors, _, _ = socket.recv_fds(control, 4, len(_NUMBERS))
    if not begun:
        raise EOFError
    message = json.loads(frames.read_frame(_CONTROL, begun))
    if "stop" in message:  # meant for a program that has ended by itself
        return
    job, limits = Job(**message["job"]), Limits(**message["limits"])
    owner = os.geteuid(), os.getegid()
    started = time.monotonic()
    process = isolation.fork_confined(proc)
    if process == 0:
        _become(job, limits, descriptors, proc, owner)
    for descriptor in descriptors:
        os.close(descriptor)
    why = _wait(process, control, started + limits.seconds)
    if proc is None or why != EXITED:
        _kill(process, whole_session=proc is None)
    _, status, usage = os.wait4(process, 0)
    code = os.waitstatus_to_exitcode(status)
    why = KILLED if why == EXITED and code < 0 else why
    _send(Ended(why, code, time.monotonic() - started, usage.ru_maxrss / 1024)._asdict())


def _become(
    job: Job, limits: Limits, descriptors: list[int], proc: int | None, owner: tuple[int, int]
) -> NoReturn:
    """Turn this forked process into the program."""
    try:
        isolation.confine(proc, owner, limits)
        # The program's descriptors get their numbers; all others are closed.
        aside = [os.dup2(given, _ASIDE + index) for index, given in enumerate(descriptors)]
        os.closerange(_CONTROL, _ASIDE)
        for number, descriptor in zip(_NUMBERS, aside, strict=False):
            os.dup2(descriptor, number)
        os.closerange(_ASIDE, _ASIDE + len(aside))
    except BaseException:  # noqa: BLE001 - whatever it is, the program must not run
        os._exit(program.NOT_CONFINED)
    program.run(job)


def _wait(process: int, control: socket.socket, deadline: float) -> str:
    watched = os.pidfd_open(process)
    try:
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        poll.register(control, select.POLLIN)
        ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
        if watched in ready:
            return EXITED
        if not ready:
            return LATE
        _kill(process, whole_session=False)
        frames.read_frame(_CONTROL)  # raises if the parent has closed
        return STOPPED
    finally:
        os.close(watched)


def _kill(process: int, *, whole_session: bool) -> None:
    # The end of the first process of a PID namespace ends all others in it.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    if whole_session:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)


def _send(message: dict[str, object]) -> None:
    frames.write_frame(_CONTROL, json.dumps(message).encode())
