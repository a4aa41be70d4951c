"""Policy 0: the base model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.checkpoints.base_model import base_model_uri, resolve_base_model
from pipelines.checkpoints.policy import policy_id_of
from pipelines.config import ModelConfig
from pipelines.stage import ArrowStage, StageContext
from schemas import POLICIES

if TYPE_CHECKING:
    import pyarrow as pa


def base_policy(model: ModelConfig) -> ArrowStage:
    """The stage that makes the base model's row in `policies`.

    Raises (in the stage):
        InputError: the model cannot be found or is not a checkpoint.
    """

    def make(_: StageContext) -> pa.Table:
        import pyarrow as pa

        checkpoint = resolve_base_model(model)
        row = {
            "policy_id": policy_id_of(checkpoint),
            "checkpoint_uri": base_model_uri(model, checkpoint),
            "started_from": None,
            "training_set_version": None,
            "epoch": 0,
            "num_epochs": 0,
            "validation_reward": None,
            "history": "[]",
            "created_at": datetime.now(UTC),
        }
        return pa.Table.from_pylist([row], POLICIES.arrow_schema(partition_columns=False))

    return ArrowStage(name="base_policy", table=POLICIES, function=make)
