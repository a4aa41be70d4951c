"""Improve (M-step): D_i -> the next policy.

theta_i = argmax over theta of  E_{(x, y) in D_i} [ f(r(x, y)) log p_theta(y | x) ]

from the base model, for as long as the reward of greedy solutions on D_val improves.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.checkpoints.load import PolicyLoader
from pipelines.checkpoints.policy import PolicyRef
from pipelines.config import RunConfig
from pipelines.config.draws import m_step
from pipelines.errors import StageFailed
from pipelines.stage import ArrowStage, Engine, Snapshot, StageContext
from pipelines.stages.policy import policy_of
from pipelines.tuning.job import FineTuneJob, FineTuneResult
from pipelines.tuning.launch import fine_tune
from pipelines.workload import Amount, Workload
from schemas import POLICIES, PROMPTS, TRAINING_SET
from schemas.problems import TRAIN, VALIDATION

if TYPE_CHECKING:
    import pyarrow as pa

TRAIN_FILE = "train.parquet"
VALIDATION_FILE = "validation.parquet"
DTYPE = "training.dtype"
ON_VALIDATION = "purpose = 'validation' AND decoding = 'greedy'"


def improve(config: RunConfig) -> ArrowStage:
    """The stage that fine-tunes a policy on D_i.

    Its inputs are the training set, the prompts of D_val, and the policy that is fine-tuned: the
    base model, unless `improve.start_from` says otherwise.

    Raises (in the stage):
        StageFailed: D_i is empty, or the training failed.
        InputError: the model or a row cannot be used.
        LakeError: the number format is another one than that of the run's earlier M-steps, the start
            policy is lost, or the new one cannot be stored.
    """
    loader = PolicyLoader.of(config)

    def make(
        context: StageContext, training_set: Snapshot, prompts: Snapshot, policies: Snapshot
    ) -> pa.Table:
        began = time.monotonic()
        start = policy_of(policies)
        folder = context.folder / f"policy-{training_set.iteration}"
        dtype = context.resolve(DTYPE, config.training.dtype)
        job = _prepare(config, folder, start, training_set, prompts, dtype)
        if config.training.launcher == "ray":
            context.engines.start_ray()
        fetch_start = partial(loader.folder_of, start)
        result = fine_tune(job, training_set.count(), context.progress, fetch_start)
        context.resolve(DTYPE, result.dtype)
        seconds = time.monotonic() - began
        context.measures.update(_measures(result, seconds))
        # Epochs that earlier starts trained: nothing of them is committed until the policy is.
        context.earlier_seconds = max(0.0, result.seconds - seconds)
        policy = loader.store.put(result.checkpoint, context.progress)
        return _policy_row(result, policy, start, training_set.version)

    kept = config.curate.max_kept(config.sampling.num_samples_per_problem)
    longest = config.sampling.max_tokens * config.improve.max_epochs
    tokens = Amount({TRAIN: kept * longest, VALIDATION: longest}, at_most=True)
    return ArrowStage(
        name="improve",
        table=POLICIES,
        reads=(TRAINING_SET, PROMPTS, POLICIES),
        loads_policy=True,
        function=make,
        engine=Engine.TORCH,
        workload=Workload(tokens=tokens),
    )


def _prepare(
    config: RunConfig,
    folder: Path,
    start: PolicyRef,
    training_set: Snapshot,
    prompts: Snapshot,
    dtype: str,
) -> FineTuneJob:
    """The fine-tuning job, its pinned rows written where the workers read them."""
    import pyarrow.parquet as pq

    rows = training_set.arrow(["prompt", "solution", "weight", "stop_string"])
    if rows.num_rows == 0:
        raise StageFailed(
            f"iteration {training_set.iteration}: no solution was rewarded, so there is nothing to "
            "train on; raise sampling.num_samples_per_problem, ask easier problems, in a run of another name "
            "(--name); the wrong solutions are in the lake (restem sql)"
        )
    improve = config.improve
    if m_step(config, training_set.iteration):
        rate = improve.learning_rate * improve.later_learning_rate_factor
        improve = improve.model_copy(update={"learning_rate": rate})
    questions = prompts.arrow(["text", "reference", "question", "problem_id"], ON_VALIDATION)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, folder / TRAIN_FILE)
    pq.write_table(questions, folder / VALIDATION_FILE)
    return FineTuneJob(
        start=start.checkpoint_uri,
        start_policy_id=start.policy_id,
        train_file=folder / TRAIN_FILE,
        validation_file=folder / VALIDATION_FILE if questions.num_rows else None,
        stop=config.sampling.stop,
        max_tokens=config.sampling.max_tokens,
        max_model_len=config.model.max_model_len,
        reward=config.reward,
        improve=improve,
        training=config.training.model_copy(update={"dtype": dtype}),
        seed=config.seed,
        trust_remote_code=config.model.trust_remote_code,
        folder=folder,
    )


def _measures(result: FineTuneResult, seconds: float) -> dict[str, float]:
    examples = sum(record.examples for record in result.history)
    validating = sum(record.validation_seconds for record in result.history)
    training = result.seconds - validating
    return {
        "seconds_training": training,
        "seconds_validation": validating,
        "seconds_starting": max(0.0, seconds - result.seconds),
        "examples_per_second": examples / max(training, 1e-9),
        "labelled_tokens": float(result.labelled_tokens),
        "train_loss": result.history[result.epoch - 1].train_loss,
        "epochs": float(result.num_epochs),
        "workers": float(result.world_size),
        "rows_too_long": float(result.rows_too_long),
    }


def _policy_row(
    result: FineTuneResult, policy: PolicyRef, start: PolicyRef, version: int
) -> pa.Table:
    import pyarrow as pa

    history = [record.model_dump(mode="json") for record in result.history]
    row = {
        "policy_id": policy.policy_id,
        "checkpoint_uri": policy.checkpoint_uri,
        "started_from": start.policy_id,
        "training_set_version": version,
        "epoch": result.epoch,
        "num_epochs": result.num_epochs,
        "validation_reward": result.validation_reward,
        "history": json.dumps(history),
        "created_at": datetime.now(UTC),
    }
    return pa.Table.from_pylist([row], POLICIES.arrow_schema(partition_columns=False))
