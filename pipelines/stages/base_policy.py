"""Policy 0: the base model."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import RunConfig
from pipelines.stage import ArrowStage
from pipelines.tuning.base_model import resolve_base_model
from pipelines.tuning.checkpoint import policy_id_of

if TYPE_CHECKING:
    import pyarrow as pa


def base_policy(config: RunConfig) -> ArrowStage:
    """The stage that makes the base model's row in `policies`.

    Raises (in the stage):
        InputError: the model cannot be found or is not a checkpoint.
    """

    def make() -> pa.Table:
        import pyarrow as pa

        checkpoint = Path(resolve_base_model(config.model))
        return pa.Table.from_pylist(
            [
                {
                    "policy_id": policy_id_of(checkpoint),
                    "checkpoint_uri": str(checkpoint),
                    "started_from": None,
                    "training_set_version": None,
                    "epoch": 0,
                    "num_epochs": 0,
                    "validation_reward": None,
                    "history": "[]",
                    "mlflow_run_id": None,
                    "created_at": datetime.now(UTC),
                }
            ]
        )

    return ArrowStage("base_policy", make)
