"""One row per start that worked on a run: its number, and the process that had it.

A start takes the next number before its first commit, and every later commit of the run carries the
number of its start; see pipelines/lake/lease.py.
"""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

LEASES = Table(
    name="leases",
    grain="one row per start that worked on a run",
    key=("run_id", "start"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("start", ColumnType.LONG, "number of the start, from 1", minimum=1),
        Column("holder", ColumnType.STRING, "id of the start; its heartbeat's file has this name"),
        Column("process", ColumnType.STRING, "host, kernel and process that had the run, JSON"),
        Column("code_version", ColumnType.STRING, "restem's version and git commit"),
        Column("taken_at", ColumnType.TIMESTAMP, "when the start took the run"),
    ),
)
