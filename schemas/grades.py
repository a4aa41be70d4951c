"""One row per mark that a person gave a solution.

A suite whose answers no program can check (such as an exam with explanations) is sampled like any
other and exported; people grade it, and their marks are read back into this table.
"""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

GRADES = Table(
    name="grades",
    grain="one row per (sample, grader)",
    key=("run_id", "iteration", "sample_id", "grader"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("sample_id", ColumnType.STRING, "the sample graded"),
        Column("grader", ColumnType.STRING, "the person who graded it"),
        Column("suite", ColumnType.STRING, "the sample's purpose: test, or a suite's name"),
        Column("problem_id", ColumnType.STRING, "the problem answered"),
        Column("policy_id", ColumnType.STRING, "the policy that drew the sample"),
        Column("points", ColumnType.DOUBLE, "the mark", minimum=0),
        Column("max_points", ColumnType.DOUBLE, "points of a perfect solution", minimum=0),
        Column("comment", ColumnType.STRING, "the grader's remark", nullable=True),
        Column("text_hash", ColumnType.STRING, "hash of the text shown to the grader"),
        Column("graded_at", ColumnType.TIMESTAMP, "when the mark was read in"),
    ),
)
