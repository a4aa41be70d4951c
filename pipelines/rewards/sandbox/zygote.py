"""The process that programs are forked from: an interpreter that has started and left the machine.

It serves one job at a time: forks, waits, and says how the program ended. It holds the clock; a
program past its deadline is killed with everything in its PID namespace. It runs no job itself.
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
from typing import Any

from pipelines.rewards.sandbox import frames, isolation, program

_CONTROL = 3
_NUMBERS = (0, 1, program.CHANNEL, program.REPORT)
_ASIDE = 40
"""Above every descriptor of this process, below the limit on open files."""
EXITED, KILLED, LATE, STOPPED = "exited", "killed", "late", "stopped"


def main(kind: str, folders: list[str], control: int) -> None:
    """Serve the parent at the other end of a socket until it hangs up."""
    if control != _CONTROL:
        os.dup2(control, _CONTROL)
        os.close(control)
    program.preload()
    try:
        proc = isolation.enter(kind, folders)
    except OSError as error:
        _say({"failed": str(error)})
        return
    gc.collect()
    gc.freeze()
    failed = _rehearse(proc)
    _say({"failed": failed} if failed else {"ready": True})
    with contextlib.suppress(EOFError, ConnectionError), socket.socket(fileno=_CONTROL) as channel:
        while True:
            _serve(channel, proc)


def _rehearse(proc: int | None) -> str | None:
    """Why a program could not be closed in here; None if it could."""
    limits = {"seconds": 1, "memory_mb": 1024, "output_mb": 1, "folder_mb": 1}
    reads, writes = os.pipe()
    owner = os.geteuid(), os.getegid()
    try:
        process = isolation.fork_confined(proc)
    except OSError as error:
        return str(error)
    if process == 0:
        try:
            isolation.confine(proc, owner, {**limits, "open_files": 64, "threads": 4})
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what to tell
            os.write(writes, f"{type(error).__name__}: {error}".encode()[:1000])
        finally:
            os._exit(0)
    os.close(writes)
    with open(reads, "rb") as told:  # noqa: PTH123 - a descriptor
        failed = told.read().decode(errors="replace")
    os.waitpid(process, 0)
    return failed or None


def _serve(control: socket.socket, proc: int | None) -> None:
    begun, descriptors, _, _ = socket.recv_fds(control, 4, len(_NUMBERS))
    if not begun:
        raise EOFError
    job = json.loads(frames.read_frame(_CONTROL, begun))
    if "stop" in job:  # meant for a program that has ended by itself
        return
    owner = os.geteuid(), os.getegid()
    started = time.monotonic()
    process = isolation.fork_confined(proc)
    if process == 0:
        _become(job, descriptors, proc, owner)
    for descriptor in descriptors:
        os.close(descriptor)
    why = _wait(process, control, started + job["limits"]["seconds"])
    if proc is None or why != EXITED:
        _kill(process, whole_session=proc is None)
    _, status, usage = os.wait4(process, 0)
    code = os.waitstatus_to_exitcode(status)
    _say(
        {
            "why": KILLED if why == EXITED and code < 0 else why,
            "code": code,
            "seconds": time.monotonic() - started,
            "memory_mb": usage.ru_maxrss / 1024,
        }
    )


def _become(
    job: dict[str, Any], descriptors: list[int], proc: int | None, owner: tuple[int, int]
) -> None:
    """Be the program; never returns."""
    try:
        isolation.confine(proc, owner, job["limits"])
        _keep_only(descriptors)
    except BaseException:  # noqa: BLE001 - whatever it is, the program must not run
        os._exit(program.NOT_CONFINED)
    program.run(job)


def _keep_only(descriptors: list[int]) -> None:
    """The program's descriptors at their numbers, and none of ours."""
    aside = [os.dup2(given, _ASIDE + index) for index, given in enumerate(descriptors)]
    os.closerange(_CONTROL, _ASIDE)
    for number, descriptor in zip(_NUMBERS, aside, strict=False):
        os.dup2(descriptor, number)
    os.closerange(_ASIDE, _ASIDE + len(aside))


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
        frames.read_frame(_CONTROL)  # raises if the parent is gone
        return STOPPED
    finally:
        os.close(watched)


def _kill(process: int, *, whole_session: bool) -> None:
    # The first process of a PID namespace takes all others with it.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    if whole_session:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)


def _say(message: dict[str, Any]) -> None:
    frames.write_frame(_CONTROL, json.dumps(message).encode())
