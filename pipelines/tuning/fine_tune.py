"""Reward-weighted fine-tuning: the M-step's training function, free of its launcher.

Every worker calls `train` with the same job. A step's loss is

    L = sum_i (w_i / mean w) * sum_t -log p(y_it | x_i, y_i<t)  /  sum_i T_i

over the rows i of the *global* batch (all workers, all passes), with T_i the labelled tokens of row
i and mean w the mean weight of the training set: the paper's reward-weighted negative
log-likelihood, on a scale that depends neither on the rewards' unit nor on how a batch is cut. With
equal weights it is the mean loss of a token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.runtime.hardware import native_dtype
from pipelines.tuning.batches import Batch, global_batches, learning_rate, worker_passes
from pipelines.tuning.checkpoint import save_checkpoint, stored_as
from pipelines.tuning.greedy import GreedySettings, greedy_solutions
from pipelines.tuning.job import (
    RESULT_FILE,
    EpochRecord,
    FineTuneJob,
    FineTuneResult,
    kept_epoch,
    should_stop,
)
from pipelines.tuning.packing import PackedRows, pack
from pipelines.tuning.progress_file import Reporter
from pipelines.tuning.shared_prefix import check_supported, weighted_nll
from pipelines.tuning.state import TuningState, drop_state, load_state, save_state
from pipelines.tuning.workers import Workers

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pipelines.tuning.loading import Question

Score = Callable[[Sequence[tuple[str, str]], Sequence[str]], Sequence[float]]
"""Rewards of (solution, reference) pairs, given what was asked for each."""


@dataclass
class Tuner:
    """A model, its optimizer, and the rows both see."""

    job: FineTuneJob
    workers: Workers
    report: Reporter
    score: Score
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    optimizer: torch.optim.Optimizer
    start_dtype: torch.dtype
    dtype: str
    train_set: PackedRows
    validation: list[Question]
    history: list[EpochRecord] = field(default_factory=list)

    def run(self) -> FineTuneResult:
        """Epochs until D_val says stop; resumes after the last one that was saved."""
        self._resume()
        improve = self.job.improve
        self.report.started(
            examples=len(self.train_set.rows) * improve.max_epochs,
            done=len(self.train_set.rows) * len(self.history),
            dtype=self.dtype,
            num_workers=self.workers.world_size,
        )
        while not should_stop(self._rewards(), improve.patience, improve.max_epochs):
            self.history.append(self._epoch(len(self.history) + 1))
            self._save()
        return self._finish()

    def _epoch(self, epoch: int) -> EpochRecord:
        start = time.monotonic()
        rows, job = self.train_set.rows, self.job
        batches = global_batches(rows, job.improve.batch_size, job.seed, epoch)
        first_step = (epoch - 1) * len(batches)
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
        improve, workers = self.job.improve, self.workers
        num_labels = sum(row.num_labels for row in batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        per_pass = self.job.training.rows_per_pass
        for rows in worker_passes(batch, workers.rank, workers.world_size, per_pass):
            with self._autocast():
                part = weighted_nll(self.model, self.train_set.prefix, rows) / num_labels
            part.backward()
            loss += float(part.detach())
        workers.sum_gradients(self.model.parameters())
        self._update(
            learning_rate(
                step,
                steps_per_epoch * improve.max_epochs,
                improve.learning_rate,
                improve.warmup_ratio,
            )
        )
        (loss,) = workers.sum_numbers(loss)
        self.report.stepped(len(batch), epoch, loss)
        return loss

    def _update(self, rate: float) -> None:
        import torch

        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.job.improve.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()

    def _validate(self, epoch: int) -> float | None:
        if not self.validation:
            return None
        self.optimizer.zero_grad(set_to_none=True)
        mine = self.validation[self.workers.rank :: self.workers.world_size]
        settings = GreedySettings(self.job.stop, self.job.max_tokens)
        with stored_as(self.model, self.start_dtype), self._autocast():
            solutions = greedy_solutions(
                self.model, self.tokenizer, [q.text for q in mine], settings
            )
        pairs = list(zip(solutions, [q.reference for q in mine], strict=True))
        rewards = self.score(pairs, [q.asked for q in mine])
        (total,) = self.workers.sum_numbers(float(sum(rewards)))
        reward = total / len(self.validation)
        self.report.validated(epoch, reward)
        return reward

    def _autocast(self) -> AbstractContextManager[object]:
        import torch

        device = self.workers.device.partition(":")[0]
        enabled = self.dtype == "bfloat16"
        return torch.autocast(device, dtype=torch.bfloat16, enabled=enabled)

    def _rewards(self) -> list[float | None]:
        return [record.validation_reward for record in self.history]

    def _kept(self) -> int:
        return kept_epoch(self._rewards(), self.job.improve.keep)

    def _resume(self) -> None:
        state = load_state(self.job.folder, self.job.fingerprint())
        if state is None:
            return
        self.model.load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.history = list(state.history)

    def _save(self) -> None:
        """Keep the epoch's policy if it is the one to hand on so far, and the way to go on."""
        improve, epoch = self.job.improve, len(self.history)
        ended = should_stop(self._rewards(), improve.patience, improve.max_epochs)
        if self.workers.first:
            if self._kept() == epoch and (ended or improve.keep == "best"):
                folder = self._checkpoint(epoch)
                save_checkpoint(self.model, self.tokenizer, self.start_dtype, folder)
            if not ended:
                state = TuningState(
                    self.job.fingerprint(),
                    tuple(self.history),
                    self.model.state_dict(),
                    self.optimizer.state_dict(),
                )
                save_state(self.job.folder, state)
        self.workers.wait()

    def _checkpoint(self, epoch: int) -> Path:
        return self.job.folder / f"epoch-{epoch}"

    def _finish(self) -> FineTuneResult:
        kept = self._kept()
        record = self.history[kept - 1]
        result = FineTuneResult(
            fingerprint=self.job.fingerprint(),
            checkpoint=self._checkpoint(kept),
            epoch=kept,
            num_epochs=len(self.history),
            validation_reward=record.validation_reward,
            history=tuple(self.history),
            labelled_tokens=record.tokens,
            seconds=sum(record.seconds for record in self.history),
            world_size=self.workers.world_size,
            dtype=self.dtype,
        )
        if self.workers.first:
            _write_result(self.job.folder, result)
        self.workers.wait()
        return result


def train(job: FineTuneJob, workers: Workers, report: Reporter, score: Score) -> FineTuneResult:
    """Fine-tune; called by every worker, returns the same on each.

    Args:
        job: what to do; the same on every worker, its folder shared by them.
        workers: this worker's place.
        report: takes the news.
        score: the reward of solutions on D_val.

    Raises:
        InputError: the model or a row cannot be used.
    """
    return make_tuner(job, workers, report, score).run()


def make_tuner(job: FineTuneJob, workers: Workers, report: Reporter, score: Score) -> Tuner:
    """Load the start policy and the rows."""
    import torch

    from pipelines.tuning.loading import load_model, load_tokenizer, read_train, read_validation

    tokenizer = load_tokenizer(job)
    rows = read_train(job.train_file)
    train_set = pack(tokenizer, rows, job.stop, job.max_model_len)
    model, start_dtype = load_model(job, workers.device)
    check_supported(model, job.max_model_len)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=job.improve.learning_rate,
        weight_decay=job.improve.weight_decay,
        fused=True,
    )
    dtype = native_dtype(job.training.dtype)
    return Tuner(
        job=job,
        workers=workers,
        report=report,
        score=score,
        model=model,
        tokenizer=tokenizer,
        optimizer=optimizer,
        start_dtype=start_dtype,
        # A GPU without bfloat16 trains in float32: float16 would need its gradients scaled.
        dtype="float32" if dtype == "float16" else dtype,
        train_set=train_set,
        validation=read_validation(job.validation_file),
    )


def _write_result(folder: Path, result: FineTuneResult) -> None:
    import shutil

    partial = folder / f"{RESULT_FILE}.partial"
    partial.write_text(result.model_dump_json(indent=1), encoding="utf-8")
    partial.replace(folder / RESULT_FILE)
    drop_state(folder)
    for other in folder.glob("epoch-*"):
        if other != result.checkpoint:
            shutil.rmtree(other)
