"""One row per run: the configuration it is pinned to."""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

RUNS = Table(
    name="runs",
    grain="one row per run",
    key=("run_id",),
    columns=(
        RUN_ID,
        ITERATION,
        Column("config_hash", ColumnType.STRING, "hash of what decides the run's rows"),
        Column("config", ColumnType.STRING, "the resolved configuration, JSON"),
        Column("code_version", ColumnType.STRING, "restem's version and git commit"),
        Column("mlflow_run_id", ColumnType.STRING, "the parent run in MLflow", nullable=True),
        Column("created_at", ColumnType.TIMESTAMP, "when the run was first started"),
    ),
)
