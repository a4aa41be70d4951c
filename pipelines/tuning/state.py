"""What a fine-tuning job needs to go on after its last finished epoch."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.tuning.job import EpochRecord

if TYPE_CHECKING:
    import torch

STATE_FILE = "state.pt"


@dataclass(frozen=True)
class TuningState:
    """Weights and optimizer after `history`'s last epoch."""

    fingerprint: str
    history: tuple[EpochRecord, ...]
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]


def save_state(folder: Path, state: TuningState) -> None:
    """Replace the state that is there; the old one or the new one, never half of either."""
    import torch

    partial = folder / f"{STATE_FILE}.partial"
    content = {
        "fingerprint": state.fingerprint,
        "history": [record.model_dump(mode="json") for record in state.history],
        "model": state.model,
        "optimizer": state.optimizer,
    }
    torch.save(content, partial)
    partial.replace(folder / STATE_FILE)


def load_state(folder: Path, fingerprint: str) -> TuningState | None:
    """The state of the same job; None if there is none, or if it cannot be read."""
    import torch

    try:
        content = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None
    if content["fingerprint"] != fingerprint:
        return None
    history = tuple(EpochRecord.model_validate(record) for record in content["history"])
    return TuningState(fingerprint, history, content["model"], content["optimizer"])


def drop_state(folder: Path) -> None:
    """Free the disk."""
    for name in (STATE_FILE, f"{STATE_FILE}.partial"):
        (folder / name).unlink(missing_ok=True)
