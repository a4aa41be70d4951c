"""Saving a model as a checkpoint: an ordinary Hugging Face folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save_checkpoint(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dtype: torch.dtype,
    folder: Path,
) -> None:
    """Write weights (cast to `dtype`), configurations and tokenizer; the folder appears whole."""
    import torch

    with torch.device("meta"):
        # The copy takes no memory; it is given the cast weights below.
        copy = type(model)(deepcopy(model.config))
    weights = {name: value.to(dtype) for name, value in model.state_dict().items()}
    copy.load_state_dict(weights, assign=True)
    copy.tie_weights()
    copy.generation_config = model.generation_config
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    copy.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


@contextmanager
def rounded_weights(model: PreTrainedModel, dtype: torch.dtype) -> Iterator[None]:
    """Round the model's weights to `dtype` inside the context, as a checkpoint stores them.

    A policy is scored as it is handed on: an M-step of few steps moves many weights by less than
    bfloat16 can represent, so the rounded policy can write quite different solutions.
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
