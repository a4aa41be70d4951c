"""One row per evaluation problem and training problem that share text.

A policy may repeat what it was trained on, so its accuracy on such a problem means less.
"""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

CONTAMINATION = Table(
    name="contamination",
    grain="one row per (evaluation problem, training problem) that share text",
    key=("run_id", "problem_id", "train_problem_id"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("suite", ColumnType.STRING, "the evaluation problem's split: test, or a suite's"),
        Column("problem_id", ColumnType.STRING, "the evaluation problem"),
        Column("train_problem_id", ColumnType.STRING, "the training problem"),
        Column("exact", ColumnType.BOOLEAN, "same text, apart from case, white space and $"),
        Column(
            "shared_words", ColumnType.INT, "length of the longest run of words in both", minimum=0
        ),
        Column("num_words", ColumnType.INT, "number of words of the evaluation problem", minimum=0),
        Column("question", ColumnType.STRING, "the evaluation problem's text"),
        Column("train_question", ColumnType.STRING, "the training problem's text"),
    ),
)
