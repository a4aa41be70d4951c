"""Progress of a fine-tuning job, from its first worker to the process that waits: JSON lines.

A file works alike through torchrun, through Ray Train and between machines.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import errors
from pipelines.runtime.progress import Task


@dataclass(frozen=True)
class ProgressWriter:
    """Appends events to the file; does nothing without a path, on all workers but the first."""

    path: Path | None

    def started(
        self, examples: int, done: int, dtype: str, num_workers: int, resumed: str = ""
    ) -> None:
        """Training starts.

        Args:
            examples: number of examples of all epochs.
            done: number of those that earlier starts trained on.
            dtype: number format of matrix products.
            num_workers: number of workers.
            resumed: where it goes on, such as `epoch 2, step 7 of 12`; empty if nothing was saved.
        """
        self._write(
            event="started",
            examples=examples,
            done=done,
            dtype=dtype,
            workers=num_workers,
            resumed=resumed,
        )

    def stepped(self, examples: int, epoch: int, loss: float) -> None:
        """An optimizer step is done."""
        self._write(event="stepped", examples=examples, epoch=epoch, loss=loss)

    def validated(self, epoch: int, reward: float) -> None:
        """The reward of an epoch's policy on D_val is known."""
        self._write(event="validated", epoch=epoch, reward=reward)

    def failed(self, error: BaseException) -> None:
        """The job ends with an error."""
        message = " ".join(str(error).split()) or "no message"
        if not isinstance(error, errors.RestEMError):
            message = f"{type(error).__name__}: {message}"
        self._write(event="failed", kind=type(error).__name__, message=message)

    def _write(self, **event: object) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")


@dataclass
class ProgressReader:
    """Reads events from the file and shows them."""

    path: Path
    task: Task
    failure: errors.RestEMError | None = None
    _read: int = 0
    _note: dict[str, str] = field(default_factory=dict)

    def update(self) -> None:
        """Show the events written since the last call."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            self._show(json.loads(line))

    def _show(self, event: dict[str, Any]) -> None:
        examples = 0
        match event["event"]:
            case "started":
                self._note["dtype"] = event["dtype"]
                if event["resumed"]:
                    self._note["resumed"] = f"resumed at {event['resumed']}"
                examples = event["done"]
            case "stepped":
                self._note["epoch"] = f"epoch {event['epoch']}"
                self._note["loss"] = f"loss {event['loss']:.3f}"
                examples = event["examples"]
            case "validated":
                self._note["reward"] = f"D_val {event['reward']:.3f}"
            case "failed":
                self.failure = _error(event["kind"], event["message"])
                return
        self.task.advance(examples, note=", ".join(self._note.values()))


def _error(kind: str, message: str) -> errors.RestEMError:
    """The worker's error, in its own class if that is one of ours: a class has its exit code."""
    found = getattr(errors, kind, errors.StageFailed)
    is_ours = isinstance(found, type) and issubclass(found, errors.RestEMError)
    return found(message) if is_ours else errors.StageFailed(message)
