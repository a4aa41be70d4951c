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
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipelines.placement.fit import training_format
from pipelines.placement.model_memory import PassSize, shape_of_config
from pipelines.placement.nvidia import Gpu, report_on
from pipelines.placement.training import CPU_TOKENS_PER_PASS, rows_per_pass
from pipelines.tuning.batches import (
    Batch,
    PassLimit,
    global_batches,
    learning_rate,
    worker_passes,
)
from pipelines.tuning.checkpoint import rounded_weights, save_checkpoint
from pipelines.tuning.gpu_memory import naming_full_gpus
from pipelines.tuning.greedy import ROWS_AT_ONCE, GreedySettings, greedy_solutions
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
from pipelines.tuning.shared_prefix import add_gradients, check_supported
from pipelines.tuning.state import EpochPart, TuningState, drop_state, load_state, save_state
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
        pass_limit=_pass_limit(job, workers, model, train_set, dtype, gpus),
        train_set=train_set,
        validation=read_validation(job.validation_file),
    )
    return tuner.run()


def _pass_limit(
    job: FineTuneJob,
    workers: Workers,
    model: PreTrainedModel,
    train_set: PackedRows,
    dtype: str,
    gpus: Sequence[Gpu],
) -> PassLimit:
    """What a forward pass may hold: as configured, or as many rows as fit this worker's GPU."""
    rows, tokens = job.training.rows_per_pass, job.training.max_tokens_per_pass
    total = sum(gpu.total_mib or 0 for gpu in gpus) * 2**20
    if not total and tokens is None:
        tokens = CPU_TOKENS_PER_PASS
    if not total or rows is not None:
        return PassLimit(rows, tokens)
    try:
        shape = shape_of_config(model.config.to_dict())
    except (KeyError, TypeError):
        return PassLimit(tokens=tokens or CPU_TOKENS_PER_PASS)
    largest = PassSize(
        rows=math.ceil(job.improve.batch_size / workers.world_size),
        width=max(len(row.tokens) for row in train_set.rows),
        prefix=len(train_set.prefix),
    )
    shape = replace(shape, num_parameters=sum(one.numel() for one in model.parameters()))
    budget = int(total * job.training.gpu_memory_utilization)
    return PassLimit(rows_per_pass(shape, dtype, budget, largest), tokens)


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
    pass_limit: PassLimit
    train_set: PackedRows
    validation: list[ValidationPrompt]
    history: list[EpochRecord] = field(default_factory=list)
    part: EpochPart = field(default_factory=EpochPart)
    """What earlier starts did of the epoch under way."""
    saved_at: float = field(init=False)
    """When the state was last saved, or the training began, by the monotonic clock."""

    def run(self) -> FineTuneResult:
        """Train epochs until D_val says stop; resumes after the last step that was saved."""
        job = self.job
        state = load_state(job.folder, job.fingerprint(), job.training.dtype)
        if state is not None:
            # Also on a machine that would have chosen another one.
            self.dtype = state.dtype
            self.model.load_state_dict(state.model)
            self.optimizer.load_state_dict(state.optimizer)
            self.history, self.part = list(state.history), state.part
        self.saved_at = time.monotonic()
        self._report_start(is_resumed=state is not None)
        while not self._should_stop():
            self.history.append(self._epoch(len(self.history) + 1))
            self._save()
        return self._finish()

    def _report_start(self, *, is_resumed: bool) -> None:
        num_rows, improve = len(self.train_set.rows), self.job.improve
        num_steps = math.ceil(num_rows / improve.batch_size)
        epoch, steps_done = len(self.history) + 1, len(self.part.step_losses)
        step = f"step {steps_done + 1} of {num_steps}" if steps_done < num_steps else "D_val"
        self.progress.started(
            examples=num_rows * improve.max_epochs,
            done=num_rows * len(self.history) + min(steps_done * improve.batch_size, num_rows),
            dtype=self.dtype,
            num_workers=self.workers.world_size,
            resumed=f"epoch {epoch}, {step}" if is_resumed else "",
        )

    def _epoch(self, epoch: int) -> EpochRecord:
        part, self.part = self.part, EpochPart()
        start = time.monotonic() - part.seconds
        rows, job = self.train_set.rows, self.job
        batches = global_batches(rows, job.improve.batch_size, job.seed, epoch)
        first_step = (epoch - 1) * len(batches)
        losses = list(part.step_losses)
        most = math.ceil(job.improve.batch_size / self.workers.world_size)
        with naming_full_gpus(min(self.pass_limit.rows or most, most)):
            for i in range(len(losses), len(batches)):
                loss, save_is_due = self._step(batches[i], first_step + i, epoch, len(batches))
                losses.append(loss)
                if save_is_due:
                    self._save_state(EpochPart(tuple(losses), seconds=time.monotonic() - start))
        trained = time.monotonic() - part.validation_seconds

        def save(solutions: dict[int, str]) -> None:
            now = time.monotonic()
            self._save_state(EpochPart(tuple(losses), solutions, now - start, now - trained))

        reward = self._validate(epoch, part.solutions, save)
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

    def _step(
        self, batch: Batch, step: int, epoch: int, steps_per_epoch: int
    ) -> tuple[float, bool]:
        """Update the weights with a batch.

        Returns:
            Its loss, and whether the state is to be saved: the first worker's clock decides.
        """
        improve, workers = self.job.improve, self.workers
        num_labels = sum(row.num_labels for row in batch)
        self.optimizer.zero_grad(set_to_none=True)
        passes = worker_passes(batch, workers.rank, workers.world_size, self.pass_limit)
        with self._autocast():
            loss = add_gradients(self.model, self.train_set.prefix, passes, num_labels)
        workers.sum_gradients(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), improve.max_grad_norm)
        num_steps = steps_per_epoch * improve.max_epochs
        rate = learning_rate(step, num_steps, improve.learning_rate, improve.warmup_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        loss, due = workers.sum_over_workers(loss, self._save_is_due())
        self.progress.stepped(len(batch), epoch, loss)
        return loss, due > 0

    def _save_is_due(self) -> float:
        """1 on the first worker if the state is older than `save_minutes`, else 0."""
        minutes = (time.monotonic() - self.saved_at) / 60
        return float(self.workers.first and minutes >= self.job.training.save_minutes)

    def _validate(
        self, epoch: int, known: Mapping[int, str], save: Callable[[dict[int, str]], None]
    ) -> float | None:
        """Mean reward of greedy solutions on D_val; None without D_val.

        Args:
            epoch: from 1.
            known: the solutions that an earlier start has drawn.
            save: saves the state with all solutions so far.
        """
        if not self.validation:
            return None
        self.optimizer.zero_grad(set_to_none=True)
        rank, world_size = self.workers.rank, self.workers.world_size
        solutions = dict(known)
        left = [index for index in range(len(self.validation)) if index not in known]
        left.sort(key=lambda index: len(self.validation[index].text))
        rounds = [
            left[i : i + ROWS_AT_ONCE * world_size]
            for i in range(0, len(left), ROWS_AT_ONCE * world_size)
        ]
        for indices in rounds:
            mine = indices[rank::world_size]
            texts = [self.validation[index].text for index in mine]
            drawn = self.workers.union_over_workers(
                dict(zip(mine, self._greedy(texts), strict=True))
            )
            solutions.update(drawn)
            (due,) = self.workers.sum_over_workers(self._save_is_due())
            if due:
                save(solutions)
        reward = self._mean_reward([solutions[index] for index in range(len(self.validation))])
        self.progress.validated(epoch, reward)
        return reward

    def _greedy(self, texts: Sequence[str]) -> list[str]:
        """The greedy solutions of the policy as a checkpoint stores it."""
        settings = GreedySettings(self.job.stop, self.job.max_tokens)
        with rounded_weights(self.model, self.start_dtype), self._autocast():
            return greedy_solutions(self.model, self.tokenizer, texts, settings)

    def _mean_reward(self, solutions: Sequence[str]) -> float:
        """Of the solutions of all of D_val; each worker scores its share."""
        share = slice(self.workers.rank, None, self.workers.world_size)
        mine = self.validation[share]
        pairs = list(zip(solutions[share], [prompt.reference for prompt in mine], strict=True))
        rewards = self.score(pairs, [prompt.question for prompt in mine])
        (total,) = self.workers.sum_over_workers(float(sum(rewards)))
        return total / len(self.validation)

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
        is_kept = self._kept_epoch == epoch and (ended or job.improve.keep == "best")
        if self.workers.first and is_kept:
            folder = self._checkpoint(epoch)
            save_checkpoint(self.model, self.tokenizer, self.start_dtype, folder)
        if not ended:
            self._save_state(EpochPart())
        self.workers.wait()

    def _save_state(self, part: EpochPart) -> None:
        """Save what a later start goes on from, with so much of the next epoch done."""
        if self.workers.first:
            state = TuningState(
                self.job.fingerprint(),
                self.dtype,
                tuple(self.history),
                part,
                self.model.state_dict(),
                self.optimizer.state_dict(),
            )
            save_state(self.job.folder, state)
        self.saved_at = time.monotonic()

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
