"""One row per (x, y) in D_i, which the M-step fine-tunes on."""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

DRAWN = "drawn"
"""A sample of a policy."""
HINTED = "hinted"
"""A sample that was drawn with the answer as a hint, which the row's prompt does not have."""
HUMAN = "human"
"""A solution written by a person."""

TRAINING_SET = Table(
    name="training_set",
    grain="one row per (prompt, solution) trained on",
    key=("run_id", "iteration", "sample_id"),
    columns=(
        RUN_ID,
        ITERATION,
        Column(
            "sample_id",
            ColumnType.STRING,
            "the sample trained on; of a human solution, a hash of the problem and the text",
        ),
        Column("problem_id", ColumnType.STRING, "the problem answered"),
        Column(
            "origin", ColumnType.STRING, "who wrote the solution", allowed=(DRAWN, HINTED, HUMAN)
        ),
        Column(
            "drawn_in",
            ColumnType.INT,
            "iteration whose policy drew it; null: a person wrote it",
            True,
            0,
        ),
        Column(
            "policy_id",
            ColumnType.STRING,
            "the policy that drew the solution; null: a person wrote it",
            True,
        ),
        Column("reward", ColumnType.DOUBLE, "r(x, y); null: a person wrote it", True),
        Column("weight", ColumnType.DOUBLE, "f(r): factor of the row's log-likelihood", minimum=0),
        Column(
            "num_tokens",
            ColumnType.INT,
            "number of tokens drawn: the solution's and its end's; null: a person wrote it",
            True,
            1,
        ),
        Column("prompt", ColumnType.STRING, "the policy's input: few-shot prompt and question"),
        Column("solution", ColumnType.STRING, "the target"),
        Column(
            "stop_string",
            ColumnType.STRING,
            "the target's end; null: the end-of-text token",
            nullable=True,
        ),
    ),
)
