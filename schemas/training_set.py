"""One row per (x, y) in D_i: what the M-step is fine-tuned on."""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

TRAINING_SET = Table(
    name="training_set",
    grain="one row per (prompt, solution) trained on",
    key=("run_id", "iteration", "sample_id"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("sample_id", ColumnType.STRING, "the sample trained on"),
        Column("problem_id", ColumnType.STRING, "the problem answered"),
        Column("policy_id", ColumnType.STRING, "the policy that drew the solution"),
        Column("reward", ColumnType.DOUBLE, "r(x, y)"),
        Column("weight", ColumnType.DOUBLE, "f(r): factor of the row's log-likelihood", minimum=0),
        Column(
            "num_tokens", ColumnType.INT, "labelled tokens, the end of text not counted", False, 1
        ),
        Column("num_shared_chars", ColumnType.INT, "length of the prefix all prompts share"),
        Column("prompt", ColumnType.STRING, "the policy's input: few-shot prompt and question"),
        Column("solution", ColumnType.STRING, "the target"),
    ),
)
