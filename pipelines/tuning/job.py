"""A fine-tuning job and its result, which processes exchange as JSON files in the job's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pipelines.config import ImproveConfig, RewardConfig, Section, TrainingConfig
from pipelines.runtime.hardware import AUTO

RESULT_FILE = "result.json"
PROGRESS_FILE = "progress.jsonl"
LOG_FILE = "fine_tune.log"


class FineTuneJob(Section):
    """Everything the training function needs; independent of the lake and the run."""

    start: str
    """Checkpoint folder of the policy that is fine-tuned, on the machine of the worker."""
    start_policy_id: str
    train_file: Path
    """Parquet with the columns prompt, solution, weight and stop_string."""
    validation_file: Path | None = None
    """Parquet with the columns text, reference and question; None without D_val."""
    stop: tuple[str, ...] = ()
    """Strings that end a solution on D_val."""
    max_tokens: int
    """Maximum number of tokens of a solution on D_val."""
    max_model_len: int
    reward: RewardConfig = RewardConfig()
    improve: ImproveConfig = ImproveConfig()
    training: TrainingConfig = TrainingConfig()
    seed: int = 0
    trust_remote_code: bool = False
    folder: Path
    """Folder of checkpoints, state, log and result."""

    def fingerprint(self) -> str:
        """Hash of what determines the result: settings and data, not folders or workers."""
        left_out = {"train_file", "validation_file", "folder", "training", "start"}
        settings = self.model_dump(mode="json", exclude=left_out)
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for file in (self.train_file, self.validation_file):
            digest.update(file.read_bytes() if file else b"")
        return digest.hexdigest()[:16]


class EpochRecord(Section):
    """One pass over the training set."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean over the epoch's batches, weighted by their labelled tokens."""
    validation_reward: float | None
    """Mean reward of greedy solutions on D_val."""
    seconds: float
    validation_seconds: float
    """Part of `seconds` spent on D_val."""
    tokens: int
    """Number of labelled tokens."""
    examples: int
    step_losses: tuple[float, ...]


class FineTuneResult(Section):
    """The policy handed on, and the history of its training."""

    fingerprint: str
    checkpoint: Path
    epoch: int
    """The epoch kept, from 1."""
    num_epochs: int
    validation_reward: float | None
    """Of the epoch kept."""
    history: tuple[EpochRecord, ...]
    labelled_tokens: int
    """Number per epoch."""
    rows_too_long: int
    """Rows of the training set that were left out, longer than the model."""
    seconds: float
    """Training and validation, without process start and loading."""
    world_size: int
    dtype: str


def finished_result(job: FineTuneJob) -> FineTuneResult | None:
    """The result of an earlier start of the same job; None if it did not finish."""
    try:
        text = (job.folder / RESULT_FILE).read_text(encoding="utf-8")
        result = FineTuneResult.model_validate_json(text)
    except (OSError, ValidationError):
        return None
    same = result.fingerprint == job.fingerprint() and result.checkpoint.is_dir()
    same = same and job.training.dtype in (AUTO, result.dtype)
    return result if same else None


def kept_epoch(rewards: Sequence[float | None], keep: str) -> int:
    """The epoch (from 1) whose policy is handed on: the earliest of the best on D_val, or the last."""
    measured = [reward for reward in rewards if reward is not None]
    if keep == "last" or len(measured) < len(rewards):
        return len(rewards)
    return 1 + max(range(len(measured)), key=lambda index: (measured[index], -index))


def should_stop(rewards: Sequence[float | None], patience: int, max_epochs: int) -> bool:
    """Whether Algorithm 1's "while reward improves on D_val" has ended."""
    if len(rewards) >= max_epochs:
        return True
    if not rewards or rewards[-1] is None:
        return False
    return len(rewards) - kept_epoch(rewards, "best") >= patience
