"""Reward-weighted fine-tuning: the M-step's training function, independent of its launcher.

Every worker calls `train` with the same job. A step's loss is

    L = sum_i (w_i / mean w) * sum_t -log p(y_it | x_i, y_i<t)  /  sum_i T_i

over the rows i of the *global* batch (all workers, all passes), with T_i the number of labelled
tokens of row i and mean w the mean weight of the training set. This is the paper's reward-weighted
negative log-likelihood, on a scale that depends neither on the rewards' unit nor on how a batch is
split. With equal weights it is the mean loss per token.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipelines.placement.fit import training_format
from pipelines.placement.model_memory import PassSize, shape_of_config
from pipelines.placement.nvidia import Gpu, report_on
from pipelines.placement.training import CPU_ROWS_PER_PASS, rows_per_pass
from pipelines.tuning.batches import Batch, global_batches, learning_rate, worker_passes
from pipelines.tuning.checkpoint import rounded_weights, save_checkpoint
from pipelines.tuning.gpu_memory import naming_full_gpus
from pipelines.tuning.greedy import GreedySettings, greedy_solutions
from pipelines.tuning.job import (
    RESULT_FILE,
    EpochRecord,
    FineTuneJob,
    FineTuneResult,
    kept_epoch,
    should_stop,
)
from pipelines.tuning.loading import (
    ValidationPrompt,
    load_model,
    load_tokenizer,
    read_train,
    read_validation,
)
from pipelines.tuning.packing import PackedRows, pack
from pipelines.tuning.progress_file import ProgressWriter
from pipelines.tuning.shared_prefix import check_supported, weighted_nll
from pipelines.tuning.state import TuningState, drop_state, load_state, save_state
from pipelines.tuning.workers import Workers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Score = Callable[[Sequence[tuple[str, str]], Sequence[str]], Sequence[float]]
"""The rewards of (solution, reference) pairs, given the question of each."""


def train(
    job: FineTuneJob, workers: Workers, progress: ProgressWriter, score: Score
) -> FineTuneResult:
    """Fine-tune; called by every worker, returns the same on each.

    Args:
        job: the same on every worker, in a folder that all of them share.
        workers: the group of workers and this worker's rank.
        progress: where progress is reported.
        score: the reward of solutions on D_val.

    Raises:
        InputError: the model or a row cannot be used.
        MachineError: the longest row does not fit the GPU, or a step did not.
    """
    tokenizer = load_tokenizer(job)
    train_set = pack(tokenizer, read_train(job.train_file), job.max_model_len)
    model, start_dtype = load_model(job, workers.device)
    check_supported(model, job.max_model_len)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=job.improve.learning_rate,
        weight_decay=job.improve.weight_decay,
        fused=True,
    )
    gpus = report_on(workers.device).gpus
    dtype = training_format(job.training.dtype, gpus)
    tuner = _Tuner(
        job=job,
        workers=workers,
        progress=progress,
        score=score,
        model=model,
        tokenizer=tokenizer,
        optimizer=optimizer,
        start_dtype=start_dtype,
        dtype=dtype,
        rows_per_pass=_rows_per_pass(job, workers, model, train_set, dtype, gpus),
        train_set=train_set,
        validation=read_validation(job.validation_file),
    )
    return tuner.run()


def _rows_per_pass(
    job: FineTuneJob,
    workers: Workers,
    model: PreTrainedModel,
    train_set: PackedRows,
    dtype: str,
    gpus: Sequence[Gpu],
) -> int:
    """Rows of a forward pass: as configured, or as many as fit this worker's GPU."""
    requested = job.training.rows_per_pass
    total = sum(gpu.total_mib or 0 for gpu in gpus) * 2**20
    if requested is not None or not total:
        return requested or CPU_ROWS_PER_PASS
    try:
        shape = shape_of_config(model.config.to_dict())
    except (KeyError, TypeError):
        return CPU_ROWS_PER_PASS
    largest = PassSize(
        rows=math.ceil(job.improve.batch_size / workers.world_size),
        width=max(len(row.tokens) for row in train_set.rows),
        prefix=len(train_set.prefix),
    )
    shape = replace(shape, num_parameters=sum(one.numel() for one in model.parameters()))
    budget = int(total * job.training.gpu_memory_utilization)
    return rows_per_pass(shape, dtype, budget, largest)


@dataclass
class _Tuner:
    """A model in training, its optimizer and its data."""

    job: FineTuneJob
    workers: Workers
    progress: ProgressWriter
    score: Score
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    optimizer: torch.optim.Optimizer
    start_dtype: torch.dtype
    dtype: str
    rows_per_pass: int
    train_set: PackedRows
    validation: list[ValidationPrompt]
    history: list[EpochRecord] = field(default_factory=list)

    def run(self) -> FineTuneResult:
        """Train epochs until D_val says stop; resumes after the last one that was saved."""
        job = self.job
        state = load_state(job.folder, job.fingerprint(), job.training.dtype)
        if state is not None:
            # Also on a machine that would have chosen another one.
            self.dtype = state.dtype
            self.model.load_state_dict(state.model)
            self.optimizer.load_state_dict(state.optimizer)
            self.history = list(state.history)
        num_rows, improve = len(self.train_set.rows), self.job.improve
        self.progress.started(
            examples=num_rows * improve.max_epochs,
            done=num_rows * len(self.history),
            dtype=self.dtype,
            num_workers=self.workers.world_size,
        )
        while not self._should_stop():
            self.history.append(self._epoch(len(self.history) + 1))
            self._save()
        return self._finish()

    def _epoch(self, epoch: int) -> EpochRecord:
        start = time.monotonic()
        rows, job = self.train_set.rows, self.job
        batches = global_batches(rows, job.improve.batch_size, job.seed, epoch)
        first_step = (epoch - 1) * len(batches)
        with naming_full_gpus(self.rows_per_pass):
            losses = [
                self._step(batch, first_step + i, epoch, len(batches))
                for i, batch in enumerate(batches)
            ]
        trained = time.monotonic()
        reward = self._validate(epoch)
        tokens = [sum(row.num_labels for row in batch) for batch in batches]
        return EpochRecord(
            epoch=epoch,
            train_loss=sum(a * b for a, b in zip(losses, tokens, strict=True)) / sum(tokens),
            validation_reward=reward,
            seconds=time.monotonic() - start,
            validation_seconds=time.monotonic() - trained,
            tokens=sum(tokens),
            examples=len(rows),
            step_losses=tuple(losses),
        )

    def _step(self, batch: Batch, step: int, epoch: int, steps_per_epoch: int) -> float:
        """Update the weights with a batch; returns its loss."""
        improve, workers = self.job.improve, self.workers
        num_labels = sum(row.num_labels for row in batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        for rows in worker_passes(batch, workers.rank, workers.world_size, self.rows_per_pass):
            with self._autocast():
                part = weighted_nll(self.model, self.train_set.prefix, rows) / num_labels
            part.backward()
            loss += float(part.detach())
        workers.sum_gradients(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), improve.max_grad_norm)
        num_steps = steps_per_epoch * improve.max_epochs
        rate = learning_rate(step, num_steps, improve.learning_rate, improve.warmup_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        loss = workers.sum_over_workers(loss)
        self.progress.stepped(len(batch), epoch, loss)
        return loss

    def _validate(self, epoch: int) -> float | None:
        """Mean reward of greedy solutions on D_val; None without D_val."""
        if not self.validation:
            return None
        self.optimizer.zero_grad(set_to_none=True)
        mine = self.validation[self.workers.rank :: self.workers.world_size]
        texts = [prompt.text for prompt in mine]
        settings = GreedySettings(self.job.stop, self.job.max_tokens)
        with rounded_weights(self.model, self.start_dtype), self._autocast():
            solutions = greedy_solutions(self.model, self.tokenizer, texts, settings)
        pairs = list(zip(solutions, [prompt.reference for prompt in mine], strict=True))
        rewards = self.score(pairs, [prompt.question for prompt in mine])
        reward = self.workers.sum_over_workers(float(sum(rewards))) / len(self.validation)
        self.progress.validated(epoch, reward)
        return reward

    def _autocast(self) -> AbstractContextManager[object]:
        device = self.workers.device.partition(":")[0]
        return torch.autocast(device, dtype=torch.bfloat16, enabled=self.dtype == "bfloat16")

    def _should_stop(self) -> bool:
        improve = self.job.improve
        return should_stop(self._rewards, improve.patience, improve.max_epochs)

    @property
    def _rewards(self) -> list[float | None]:
        return [record.validation_reward for record in self.history]

    @property
    def _kept_epoch(self) -> int:
        return kept_epoch(self._rewards, self.job.improve.keep)

    def _checkpoint(self, epoch: int) -> Path:
        return self.job.folder / f"epoch-{epoch}"

    def _save(self) -> None:
        """Save the epoch's policy if it is the best so far, and the state to resume from."""
        job, epoch, ended = self.job, len(self.history), self._should_stop()
        if self.workers.first:
            if self._kept_epoch == epoch and (ended or job.improve.keep == "best"):
                folder = self._checkpoint(epoch)
                save_checkpoint(self.model, self.tokenizer, self.start_dtype, folder)
            if not ended:
                state = TuningState(
                    job.fingerprint(),
                    self.dtype,
                    tuple(self.history),
                    self.model.state_dict(),
                    self.optimizer.state_dict(),
                )
                save_state(job.folder, state)
        self.workers.wait()

    def _finish(self) -> FineTuneResult:
        """Write the result and delete all that it does not need."""
        kept, folder = self._kept_epoch, self.job.folder
        record = self.history[kept - 1]
        result = FineTuneResult(
            fingerprint=self.job.fingerprint(),
            checkpoint=self._checkpoint(kept),
            epoch=kept,
            num_epochs=len(self.history),
            validation_reward=record.validation_reward,
            history=tuple(self.history),
            labelled_tokens=record.tokens,
            rows_too_long=self.train_set.num_too_long,
            seconds=sum(record.seconds for record in self.history),
            world_size=self.workers.world_size,
            dtype=self.dtype,
        )
        if self.workers.first:
            partial = folder / f"{RESULT_FILE}.partial"
            partial.write_text(result.model_dump_json(indent=1), encoding="utf-8")
            partial.replace(folder / RESULT_FILE)
            drop_state(folder)
            for other in folder.glob("epoch-*"):
                if other != result.checkpoint:
                    shutil.rmtree(other)
        self.workers.wait()
        return result
