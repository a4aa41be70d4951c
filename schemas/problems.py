"""One row per problem x of a run: its question, its reference answer and the split it is in."""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

TRAIN = "train"
VALIDATION = "validation"
TEST = "test"
REFUSED = "refused"
"""Left out of the run: no prompt asks it (`problems.refused: drop`)."""

PROBLEMS = Table(
    name="problems",
    grain="one row per problem",
    key=("run_id", "problem_id"),
    columns=(
        RUN_ID,
        ITERATION,
        Column(
            "problem_id",
            ColumnType.STRING,
            "hash of the question, and of the data set's name if it has one",
        ),
        Column("dataset", ColumnType.STRING, "the source the problem came from"),
        Column(
            "split",
            ColumnType.STRING,
            "train, validation, test, a transfer suite's name, or refused: left out",
        ),
        Column("question", ColumnType.STRING, "the question"),
        Column(
            "reference", ColumnType.STRING, "the answer that the verifier compares a solution with"
        ),
        Column("solution", ColumnType.STRING, "a human solution", nullable=True),
        Column(
            "refused",
            ColumnType.STRING,
            "why its own answer fails its verifier; null: it passes, or there is none to try",
            nullable=True,
        ),
        Column("metadata", ColumnType.STRING, "the source's other fields, JSON"),
        Column("source_row", ColumnType.LONG, "row number in the source, from 1", minimum=1),
    ),
)
