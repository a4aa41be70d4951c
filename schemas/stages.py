"""One row per sealed attempt of a stage: what it read, what it made, and how long it took.

A row is the seal: it is written after the stage's table passed its expectations, and names the table
version that later stages and readers use.
"""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

STAGES = Table(
    name="stages",
    grain="one row per sealed attempt of a stage",
    key=("run_id", "iteration", "stage", "attempt"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("stage", ColumnType.STRING, "the stage's name"),
        Column("attempt", ColumnType.INT, "from 1", minimum=1),
        Column("table_name", ColumnType.STRING, "the table made"),
        Column("version", ColumnType.LONG, "its Delta version when sealed", minimum=0),
        Column("inputs", ColumnType.STRING, "tables read with their versions, JSON"),
        Column("rows", ColumnType.LONG, "number of rows of this run and iteration", minimum=0),
        Column("seconds", ColumnType.DOUBLE, "wall time of the attempt, all starts", minimum=0),
        Column("measures", ColumnType.STRING, "figures that the stage reports, JSON"),
        Column("covers", ColumnType.STRING, "suites and E-steps that it has rows for, JSON"),
        Column("settings", ColumnType.STRING, "resolved settings that it was made with, JSON"),
        Column("config_hash", ColumnType.STRING, "the run's configuration"),
        Column("code_version", ColumnType.STRING, "restem's version and git commit"),
        Column("mlflow_run_id", ColumnType.STRING, "the run in MLflow", nullable=True),
        Column("committed_at", ColumnType.TIMESTAMP, "when it was sealed"),
    ),
)
