"""A run as a process session: its start, the processes it consists of, and what it prints."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fault_moments import Moment, Sealed, sealed_in

ROOT = Path(__file__).resolve().parents[1]
MARK = "RESTEM_FAULTS_RUN"
"""Environment variable that names the disturbed run to which a process belongs."""
_POLL_SECONDS = 0.1
_SESSION_FIELD = 3
"""Place of the session's id in /proc/PID/stat, after the process's name and its closing bracket."""

DRIVER, SESSION, ENGINE, WORKER = "driver", "session", "engine", "Ray worker"
RAYLET, JVM, TRAINER, SCORER = "raylet", "JVM", "training worker", "scoring worker"
VICTIMS = (DRIVER, SESSION, ENGINE, WORKER, RAYLET, JVM, TRAINER, SCORER)
SHORT_LIVED = frozenset({ENGINE, TRAINER, SCORER})
"""Roles of processes that are there during one stage."""


@dataclass(frozen=True)
class RunProcess:
    """A process of a run."""

    pid: int
    session: int
    command: tuple[str, ...]
    """Its command line; for a process of Ray the title that Ray gives it."""

    def __str__(self) -> str:
        return f"{self.pid} {' '.join(self.command)[:60]}".strip()


def roles(process: RunProcess) -> set[str]:
    """What a process is in its run."""
    name, line = process.command[0] if process.command else "", " ".join(process.command)
    is_rays, is_engine = name.startswith("ray::"), "ChunkDrawer" in name
    is_it = {
        SESSION: True,
        DRIVER: process.pid == process.session and "-m jobs run" in line,
        ENGINE: is_rays and is_engine,
        # Ray's agents are raylet's own: it ends with them.
        WORKER: is_rays and not is_engine and "Agent" not in name,
        RAYLET: name.endswith("/raylet"),
        JVM: name.endswith("/java"),
        TRAINER: "pipelines.tuning.worker" in line and "torchrun" not in line,
        SCORER: "pipelines.rewards.workers" in line,
    }
    return {role for role, holds in is_it.items() if holds}


def processes_of(sessions: set[int], mark: str) -> list[RunProcess]:
    """The processes of a run that are alive: in a session of its starts, or with its mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            session, is_dead = int(fields[_SESSION_FIELD]), fields[0] in "ZX"
            if is_dead or (session not in sessions and not _is_marked(folder, mark)):
                continue
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
        except (OSError, IndexError):
            continue  # it has ended
        words = tuple(word for word in line.split("\0") if word)
        found.append(RunProcess(int(folder.name), session, words))
    return found


def _is_marked(folder: Path, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # another user's


def send(processes: list[RunProcess], number: signal.Signals) -> int:
    """Signal processes, the session's leader first; the number of those that were there."""
    reached = 0
    for process in sorted(processes, key=lambda one: one.pid != one.session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
            reached += 1
    return reached


class Start:
    """One start of a run, in a session of its own.

    Args:
        arguments: those of `restem`.
        environment: variables besides this process's.
    """

    def __init__(self, arguments: list[str], environment: Mapping[str, str]) -> None:
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobs", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={**os.environ, "COLUMNS": "140", **environment},
        )
        self.printed: list[str] = []
        self.sealed: list[Sealed] = []
        """Stages that this start has sealed, `at` in seconds since it began."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed.append(line.rstrip())
            sealed = sealed_in(line, self.seconds)
            if sealed is not None:
                self.sealed.append(sealed)

    @property
    def pid(self) -> int:
        """Of the driver; also the id of the session."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """The last line that it printed, without the time."""
        lines = [line for line in self.printed if line.strip()]
        return lines[-1] if lines else "nothing"

    def wait(self, seconds: float) -> int | None:
        """The exit code, after at most some seconds; None if it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(max(seconds, 0.0))
            # A process that outlives the driver may hold the pipe open.
            self._reader.join(timeout=2.0)
            return code
        return None

    def wait_for(self, moment: Moment, done_before: set[str], startup: float) -> bool:
        """Wait for a moment of the run; whether the start was then still at work.

        Args:
            moment: the moment.
            done_before: stages that were sealed when this start began.
            startup: seconds until a start's first stage begins.
        """
        while self.code is None:
            since = self._reached(moment.after, done_before, startup)
            offset = 0.0 if moment.in_life else moment.offset
            if since is not None and self.seconds >= since + offset:
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _reached(self, stage: str, done_before: set[str], startup: float) -> float | None:
        """When this start was where a stage is sealed; None if that is to come."""
        if not stage:
            return 0.0
        if stage in done_before:
            return startup
        return next((one.at for one in self.sealed if one.label == stage), None)

    def wait_for_progress(self, seconds: float) -> float | None:
        """Seconds until the next stage is sealed or the start ends; None if that takes too long."""
        began, number = time.monotonic(), len(self.sealed)
        while time.monotonic() - began < seconds:
            if len(self.sealed) > number or self.code is not None:
                return time.monotonic() - began
            time.sleep(_POLL_SECONDS)
        return None
