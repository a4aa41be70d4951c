"""One row per expectation evaluated on a table."""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

CRITICAL = "critical"
WARNING = "warning"

CHECKS = Table(
    name="checks",
    grain="one row per expectation evaluated",
    key=("run_id", "iteration", "table_name", "attempt", "rule"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("table_name", ColumnType.STRING, "the table checked"),
        Column(
            "attempt",
            ColumnType.INT,
            "from 1; a stage that is repeated is checked again",
            False,
            1,
        ),
        Column("version", ColumnType.LONG, "its Delta version; null if it was refused", True),
        Column("rule", ColumnType.STRING, "what must hold"),
        Column(
            "severity",
            ColumnType.STRING,
            "critical stops the run, warning is reported",
            allowed=(CRITICAL, WARNING),
        ),
        Column("passed", ColumnType.BOOLEAN, "whether it holds"),
        Column("observed", ColumnType.STRING, "what was found", nullable=True),
        Column("num_unexpected", ColumnType.LONG, "number of rows that break it", True, 0),
        Column("examples", ColumnType.STRING, "some of those rows, JSON", nullable=True),
        Column("engine", ColumnType.STRING, "what evaluated it", allowed=("pandas", "spark")),
        Column("checked_at", ColumnType.TIMESTAMP, "when it was evaluated"),
    ),
)
