"""Checkpoints of a few bytes, for tests of where they are kept."""

from __future__ import annotations

from pathlib import Path


def write_checkpoint(folder: Path, weights: str = "weights") -> Path:
    """A folder with the files of a checkpoint, one of them in a folder of its own; returns it."""
    (folder / "templates").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "templates" / "chat.jinja").write_text("")
    (folder / "model-00001-of-00002.safetensors").write_text(weights)
    (folder / "model-00002-of-00002.safetensors").write_text(f"more {weights}")
    return folder
