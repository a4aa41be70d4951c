"""One row per policy: its weights and where they came from."""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

POLICIES = Table(
    name="policies",
    grain="one row per iteration's policy; iteration 0 is the base model",
    key=("run_id", "iteration"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("policy_id", ColumnType.STRING, "hash of the weights"),
        Column(
            "checkpoint_uri",
            ColumnType.STRING,
            "where its checkpoint is: a URI in the lake, or the base model's name or folder",
        ),
        Column(
            "started_from",
            ColumnType.STRING,
            "the policy fine-tuned; null for the base model",
            True,
        ),
        Column("training_set_version", ColumnType.LONG, "Delta version trained on", True),
        Column(
            "epoch", ColumnType.INT, "epoch kept, from 1; 0: the weights before training", minimum=0
        ),
        Column("num_epochs", ColumnType.INT, "number of epochs run", minimum=0),
        Column("validation_reward", ColumnType.DOUBLE, "mean reward on D_val, greedy", True),
        Column("history", ColumnType.STRING, "loss and D_val reward per epoch, JSON"),
        Column("created_at", ColumnType.TIMESTAMP, "when it was made"),
    ),
)
