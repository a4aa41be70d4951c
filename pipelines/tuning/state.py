"""The state that a fine-tuning job resumes from: weights and optimizer after an optimizer step."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipelines.runtime.hardware import AUTO
from pipelines.tuning.job import EpochRecord

STATE_FILE = "state.pt"


@dataclass(frozen=True)
class EpochPart:
    """What is done of the epoch under way: its first steps, and then solutions on D_val."""

    step_losses: tuple[float, ...] = ()
    solutions: dict[int, str] = field(default_factory=dict)
    """Those on D_val, by the prompt's place in its file."""
    seconds: float = 0.0
    """Of all starts that worked on the epoch."""
    validation_seconds: float = 0.0
    """Part of `seconds` spent on D_val."""


@dataclass(frozen=True)
class TuningState:
    """Weights and optimizer after the epochs of `history` and the steps of `part`."""

    fingerprint: str
    dtype: str
    """Number format that its epochs were trained in."""
    history: tuple[EpochRecord, ...]
    part: EpochPart
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]


def save_state(folder: Path, state: TuningState) -> None:
    """Replace the saved state; if this is interrupted, the old one stays."""
    partial = folder / f"{STATE_FILE}.partial"
    content = {
        "fingerprint": state.fingerprint,
        "dtype": state.dtype,
        "history": [record.model_dump(mode="json") for record in state.history],
        "part": asdict(state.part),
        "model": state.model,
        "optimizer": state.optimizer,
    }
    torch.save(content, partial)
    partial.replace(folder / STATE_FILE)


def load_state(folder: Path, fingerprint: str, dtype: str) -> TuningState | None:
    """The saved state; None if there is none, it is another job's, or it cannot be read.

    Args:
        folder: the job's.
        fingerprint: the job's.
        dtype: number format that it must have been trained in; `auto`: any.
    """
    try:
        content = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None
    trained_in = content.get("dtype", "")
    if content["fingerprint"] != fingerprint or dtype not in (AUTO, trained_in):
        return None
    history = tuple(EpochRecord.model_validate(record) for record in content["history"])
    part = EpochPart(**content.get("part", {}))
    return TuningState(
        fingerprint, trained_in, history, part, content["model"], content["optimizer"]
    )


def drop_state(folder: Path) -> None:
    """Delete the saved state."""
    for name in (STATE_FILE, f"{STATE_FILE}.partial"):
        (folder / name).unlink(missing_ok=True)
