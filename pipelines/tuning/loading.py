"""What a worker reads before its first step: model, tokenizer, rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import InputError
from schemas.prompts import question_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.tuning.job import FineTuneJob


def load_tokenizer(job: FineTuneJob) -> PreTrainedTokenizerBase:
    """The start policy's tokenizer.

    Raises:
        InputError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(job.start, trust_remote_code=job.trust_remote_code)
    except (OSError, ValueError) as error:
        raise _not_loaded(job, "tokenizer", error) from None


def load_model(job: FineTuneJob, device: str) -> tuple[PreTrainedModel, torch.dtype]:
    """The start policy in float32, ready to train, and the number format it was stored in.

    Raises:
        InputError: it cannot be loaded.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    remote = job.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(job.start, trust_remote_code=remote)
        model = AutoModelForCausalLM.from_pretrained(
            job.start, dtype=torch.float32, attn_implementation="sdpa", trust_remote_code=remote
        )
    except (OSError, ValueError) as error:
        raise _not_loaded(job, "model", error) from None
    # Without dropout: the loss must not depend on how a batch is cut into passes and workers.
    model.eval()
    return model.to(device), config.dtype or torch.float32


def read_train(file: Path) -> list[tuple[str, str, float]]:
    """(prompt, solution, weight), the weights scaled to a mean of 1."""
    import pyarrow.parquet as pq

    columns = pq.read_table(file, columns=["prompt", "solution", "weight"]).to_pydict()
    weights = columns["weight"]
    mean = sum(abs(weight) for weight in weights) / max(len(weights), 1)
    if mean == 0:
        raise InputError("training_set: every weight is 0; check curate.weight and the rewards")
    scaled = [weight / mean for weight in weights]
    return list(zip(columns["prompt"], columns["solution"], scaled, strict=True))


class Question(NamedTuple):
    """A prompt of D_val."""

    text: str
    """What the policy sees."""
    reference: str
    asked: str
    """The question alone."""


def read_validation(file: Path | None) -> list[Question]:
    """The prompts of D_val; none without a file."""
    import pyarrow.parquet as pq

    if file is None:
        return []
    rows = pq.read_table(file, columns=["text", "reference", "num_shared_chars"]).to_pylist()
    return [
        Question(row["text"], row["reference"], question_of(row["text"], row["num_shared_chars"]))
        for row in rows
    ]


def _not_loaded(job: FineTuneJob, what: str, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0]
    return InputError(
        f"{job.start}: its {what} cannot be loaded to fine-tune it ({reason}); "
        "a policy is a folder that save_pretrained wrote, with its tokenizer"
    )
