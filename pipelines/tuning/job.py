"""A fine-tuning job and its result, as they travel between processes: JSON files in one folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pipelines.config import ImproveConfig, RewardConfig, Section, TrainingConfig

RESULT_FILE = "result.json"
PROGRESS_FILE = "progress.jsonl"
LOG_FILE = "fine_tune.log"


class FineTuneJob(Section):
    """Everything the training function needs; it knows no lake and no run."""

    start: str
    """Checkpoint folder or hub id of the policy fine-tuned."""
    start_policy_id: str
    train_file: Path
    """Parquet: prompt, solution, weight, num_shared_chars."""
    validation_file: Path | None = None
    """Parquet: text, reference, problem_id; None without D_val."""
    stop: tuple[str, ...] = ()
    max_tokens: int
    """Longest solution when D_val is decoded."""
    max_model_len: int
    reward: RewardConfig = RewardConfig()
    improve: ImproveConfig = ImproveConfig()
    training: TrainingConfig = TrainingConfig()
    seed: int = 0
    trust_remote_code: bool = False
    folder: Path
    """Where checkpoints, state, log and result go."""

    def fingerprint(self) -> str:
        """Hash of what decides the result: settings and data, not folders or workers."""
        where = {"train_file", "validation_file", "folder", "training", "start"}
        settings = self.model_dump(mode="json", exclude=where)
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for file in (self.train_file, self.validation_file):
            digest.update(file.read_bytes() if file else b"")
        return digest.hexdigest()[:16]


class EpochRecord(Section):
    """One pass over the training set."""

    epoch: int
    """From 1."""
    train_loss: float
    """Mean over the epoch's batches, by labelled tokens."""
    validation_reward: float | None
    """Mean reward of greedy solutions on D_val."""
    seconds: float
    validation_seconds: float
    """Of them, spent on D_val."""
    tokens: int
    """Labelled tokens."""
    examples: int
    step_losses: tuple[float, ...]


class FineTuneResult(Section):
    """The policy handed on, and how it came to be."""

    fingerprint: str
    checkpoint: Path
    epoch: int
    """The epoch kept, from 1."""
    num_epochs: int
    validation_reward: float | None
    """Of the epoch kept."""
    history: tuple[EpochRecord, ...]
    labelled_tokens: int
    """In one epoch."""
    seconds: float
    """Training and validation, without process start and loading."""
    world_size: int
    dtype: str


def finished_result(job: FineTuneJob) -> FineTuneResult | None:
    """What an earlier start of the same job left, if it came to the end."""
    try:
        text = (job.folder / RESULT_FILE).read_text(encoding="utf-8")
        result = FineTuneResult.model_validate_json(text)
    except (OSError, ValidationError):
        return None
    same = result.fingerprint == job.fingerprint() and result.checkpoint.is_dir()
    return result if same else None


def kept_epoch(rewards: Sequence[float | None], keep: str) -> int:
    """The epoch (from 1) whose policy is handed on: the earliest best on D_val, or the last."""
    measured = [reward for reward in rewards if reward is not None]
    if keep == "last" or len(measured) < len(rewards):
        return len(rewards)
    return 1 + max(range(len(measured)), key=lambda index: (measured[index], -index))


def should_stop(rewards: Sequence[float | None], patience: int, max_epochs: int) -> bool:
    """Whether the "while reward improves on D_val" of Algorithm 1 has ended."""
    if len(rewards) >= max_epochs:
        return True
    if not rewards or rewards[-1] is None:
        return False
    return len(rewards) - kept_epoch(rewards, "best") >= patience
