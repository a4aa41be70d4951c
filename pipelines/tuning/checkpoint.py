"""Policies as files: an ordinary Hugging Face folder, known by a hash of its weights."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class PolicyRef:
    """A policy: what its weights hash to, and what loads it."""

    policy_id: str
    checkpoint_uri: str


def policy_id_of(checkpoint: Path) -> str:
    """Content hash of the checkpoint's weights.

    Raises:
        InputError: the folder holds no safetensors files.
    """
    files = sorted(checkpoint.glob("*.safetensors"))
    if not files:
        raise InputError(
            f"{checkpoint}: holds no *.safetensors weights; save the model with save_pretrained"
        )
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def save_checkpoint(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dtype: torch.dtype,
    folder: Path,
) -> None:
    """Write weights (cast to `dtype`), configurations and tokenizer; the folder appears whole."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _cast(model, dtype).save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


@contextmanager
def stored_as(model: PreTrainedModel, dtype: torch.dtype) -> Iterator[None]:
    """While this lasts, the weights are those that a checkpoint of this number format will hold.

    A policy is judged as it is handed on: an M-step of few steps moves many weights by less than
    bfloat16 can tell apart, so the rounded policy can answer quite differently.
    """
    import torch

    with torch.no_grad():
        exact = [weight.clone() for weight in model.parameters()]
        for weight in model.parameters():
            weight.copy_(weight.to(dtype))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, kept in zip(model.parameters(), exact, strict=True):
                weight.copy_(kept)


def _cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its weights in another number format; the original stays as it is."""
    import torch

    with torch.device("meta"):
        # Takes no memory; a copy of the model would hold its float32 weights a second time.
        shell = type(model)(deepcopy(model.config)).to(dtype)
    weights = {name: value.to(dtype) for name, value in model.state_dict().items()}
    shell.load_state_dict(weights, assign=True)
    shell.tie_weights()
    shell.generation_config = model.generation_config
    return shell
