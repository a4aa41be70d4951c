"""Progress of long work: bars in a terminal, plain lines in a log.

Everything that takes more than a few seconds reports here; nothing else in pipelines/ prints.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Task(Protocol):
    """A piece of long work whose progress is shown."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Report `count` more units done; a `note` replaces the text after the figures."""


class Progress(Protocol):
    """Where a stage reports its progress."""

    def task(self, what: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
        """A context manager that yields a Task.

        Args:
            what: name of the work.
            total: number of units in all, if known.
            unit: name of the units.
        """

    def say(self, line: str) -> None:
        """Show a line of text."""


class _SilentTask:
    def advance(self, count: int = 1, note: str = "") -> None:
        pass


class SilentProgress:
    """Shows nothing; for tests and inner work."""

    @contextmanager
    def task(self, what: str, total: int | None, unit: str) -> Iterator[Task]:
        """See Progress."""
        yield _SilentTask()

    def say(self, line: str) -> None:
        """See Progress."""


class LineProgress:
    """A line at the start and at the end of a task, and at most one per `every` seconds between.

    Args:
        every: seconds between two lines of a task.
        stream: where lines are printed; None: `sys.stdout` at the time of printing.
    """

    def __init__(self, every: float = 15.0, stream: TextIO | None = None) -> None:
        self._every, self._stream = every, stream

    @contextmanager
    def task(self, what: str, total: int | None, unit: str) -> Iterator[Task]:
        """See Progress."""
        task = _LineTask(what, total, unit, self._every, self.say)
        self.say(f"{what}: started" + (f", {total:,} {unit}" if total else ""))
        yield task
        task.finish()

    def say(self, line: str) -> None:
        """See Progress."""
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True, file=self._stream)


class _LineTask:
    def __init__(
        self, what: str, total: int | None, unit: str, every: float, say: Callable[[str], None]
    ) -> None:
        self._what, self._total, self._unit, self._every, self._say = what, total, unit, every, say
        self._start = self._last = time.monotonic()
        self._done, self._note = 0, ""
        self._first: tuple[float, int] | None = None
        """Time and number of the first units done."""

    def advance(self, count: int = 1, note: str = "") -> None:
        self._done += count
        self._note = note or self._note
        now = time.monotonic()
        if self._first is None and count:
            self._first = now, count
        if now - self._last >= self._every:
            self._last = now
            self._say(self._line(now))

    def finish(self) -> None:
        seconds = time.monotonic() - self._start
        note = f", {self._note}" if self._note else ""
        self._say(f"{self._what}: {self._done:,} {self._unit} in {seconds:.0f} s{note}")

    def _line(self, now: float) -> str:
        parts = [f"{self._what}: {self._done:,}"]
        if self._total:
            parts = [f"{self._what}: {self._done:,}/{self._total:,} {self._unit}"]
            # The rate leaves out the first units: the time until then is mostly the engine's start.
            began, count = self._first or (now, self._done)
            rate = (self._done - count) / max(now - began, 1e-9)
            if rate:
                left = (self._total - self._done) / rate
                parts.append(f"{rate:.1f}/s, {duration(left)} left")
        return ", ".join([*parts, self._note] if self._note else parts)


def duration(seconds: float) -> str:
    """Seconds in readable units: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class BarProgress:
    """Bars with done/all, time elapsed and time left, for a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def task(self, what: str, total: int | None, unit: str) -> Iterator[Task]:
        """See Progress."""
        from rich import progress as bars

        columns = (
            bars.TextColumn("{task.description:<28}"),
            bars.BarColumn(bar_width=24),
            bars.MofNCompleteColumn(),
            bars.TextColumn(unit),
            bars.TimeElapsedColumn(),
            bars.TextColumn("left"),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.fields[note]}"),
        )
        with bars.Progress(*columns, console=self._console) as bar:
            yield _BarTask(bar, bar.add_task(what, total=total, note=""))

    def say(self, line: str) -> None:
        """See Progress."""
        self._console.print(line, highlight=False)


class _BarTask:
    def __init__(self, bar: RichProgress, task_id: TaskID) -> None:
        self._bar, self._id = bar, task_id

    def advance(self, count: int = 1, note: str = "") -> None:
        if note:
            self._bar.update(self._id, advance=count, note=note)
        else:
            self._bar.update(self._id, advance=count)


def for_terminal(stream: TextIO | None = None) -> Progress:
    """Bars if the stream (`sys.stdout` if None) is a terminal, plain lines otherwise."""
    if not (stream or sys.stdout).isatty():
        return LineProgress(stream=stream)
    from rich.console import Console

    return BarProgress(Console(file=stream))
