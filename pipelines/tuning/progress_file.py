"""News of a fine-tuning job, from its first worker to whoever waits for it: JSON lines in a file.

A file, because it passes through torchrun, through Ray Train and between machines alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import errors
from pipelines.runtime.progress import Task


@dataclass(frozen=True)
class Reporter:
    """Writes the news; does nothing on other workers than the first."""

    path: Path | None

    def started(self, examples: int, done: int, dtype: str, num_workers: int) -> None:
        """All examples of all epochs, and those that an earlier start did."""
        self._write(event="started", examples=examples, done=done, dtype=dtype, workers=num_workers)

    def stepped(self, examples: int, epoch: int, loss: float) -> None:
        """An optimizer step is done."""
        self._write(event="stepped", examples=examples, epoch=epoch, loss=loss)

    def validated(self, epoch: int, reward: float) -> None:
        """An epoch's policy was measured on D_val."""
        self._write(event="validated", epoch=epoch, reward=reward)

    def failed(self, error: BaseException) -> None:
        """The job ends here."""
        message = " ".join(str(error).split()) or "no message"
        if not isinstance(error, errors.RestEMError):
            message = f"{type(error).__name__}: {message}"
        self._write(event="failed", kind=type(error).__name__, message=message)

    def _write(self, **news: object) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(news) + "\n")


@dataclass
class Listener:
    """Reads the news and shows it."""

    path: Path
    task: Task
    failure: errors.RestEMError | None = None
    _read: int = 0
    _note: dict[str, str] = field(default_factory=dict)

    def listen(self) -> None:
        """Take in what has been written since the last call."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, news: dict[str, Any]) -> None:
        event = news["event"]
        if event == "started":
            self._note["dtype"] = news["dtype"]
            self._advance(news["done"])
        elif event == "stepped":
            self._note["epoch"] = f"epoch {news['epoch']}"
            self._note["loss"] = f"loss {news['loss']:.3f}"
            self._advance(news["examples"])
        elif event == "validated":
            self._note["reward"] = f"D_val {news['reward']:.3f}"
            self._advance(0)
        elif event == "failed":
            self.failure = _error(news["kind"], news["message"])

    def _advance(self, examples: int) -> None:
        self.task.advance(examples, note=", ".join(self._note.values()))


def _error(kind: str, message: str) -> errors.RestEMError:
    """The worker's own error if it is one of ours, so that a user's mistake keeps its exit code."""
    found = getattr(errors, kind, errors.StageFailed)
    is_ours = isinstance(found, type) and issubclass(found, errors.RestEMError)
    return found(message) if is_ours else errors.StageFailed(message)
