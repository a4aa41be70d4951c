"""Loading of what a worker trains: tokenizer, model and rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.parquet as pq
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from pipelines.errors import InputError, first_line
from pipelines.tuning.packing import TrainingRow

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.tuning.job import FineTuneJob


def load_tokenizer(job: FineTuneJob) -> PreTrainedTokenizerBase:
    """The start policy's tokenizer.

    Raises:
        InputError: it cannot be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(job.start, trust_remote_code=job.trust_remote_code)
    except (OSError, ValueError) as error:
        raise _not_loaded(job, "tokenizer", error) from None


def load_model(job: FineTuneJob, device: str) -> tuple[PreTrainedModel, torch.dtype]:
    """The start policy in float32, ready to train, and the number format it was stored in.

    Raises:
        InputError: it cannot be loaded.
    """
    remote = job.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(job.start, trust_remote_code=remote)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            job.start, dtype=torch.float32, attn_implementation="sdpa", trust_remote_code=remote
        )
    except (OSError, ValueError) as error:
        raise _not_loaded(job, "model", error) from None
    # Without dropout: the loss must not depend on how a batch is split into passes and workers.
    model.eval()
    # Not `model.to`, which transformers wraps in a decorator that loses its type.
    torch.nn.Module.to(model, device)
    return model, config.dtype or torch.float32


def read_train(file: Path) -> list[TrainingRow]:
    """The training set, with the weights scaled to a mean of 1.

    Raises:
        InputError: all weights are 0.
    """
    columns = pq.read_table(file, columns=list(TrainingRow._fields)).to_pydict()
    weights = columns["weight"]
    mean = sum(abs(weight) for weight in weights) / max(len(weights), 1)
    if mean == 0:
        raise InputError("training_set: every weight is 0; check curate.weight and the rewards")
    scaled = [weight / mean for weight in weights]
    rows = zip(columns["prompt"], columns["solution"], scaled, columns["stop_string"], strict=True)
    return [TrainingRow(*row) for row in rows]


class ValidationPrompt(NamedTuple):
    """A prompt of D_val."""

    text: str
    """What the policy reads."""
    reference: str
    question: str
    """The part of the text that asks this problem."""


def read_validation(file: Path | None) -> list[ValidationPrompt]:
    """The prompts of D_val; none without a file."""
    if file is None:
        return []
    rows = pq.read_table(file, columns=list(ValidationPrompt._fields)).to_pylist()
    return [ValidationPrompt(**row) for row in rows]


def _not_loaded(job: FineTuneJob, what: str, error: Exception) -> InputError:
    return InputError(
        f"{job.start}: its {what} cannot be loaded to fine-tune it ({first_line(error)}); "
        "a policy is a folder that save_pretrained wrote, with its tokenizer"
    )
