"""One row per prompt shown to a policy, with its purpose and the way it is decoded.

An iteration's prompts are all that its policy is asked: the engine starts once, draws `num_samples`
solutions per row, and stops.
"""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

SAMPLE = "sample"
"""The E-step's decoding: N solutions at the training temperature."""
HINTED = "hinted"
"""The E-step's decoding of a problem that is asked again with its answer as a hint."""
FOR_TRAINING = (SAMPLE, HINTED)
"""The decodings whose samples may be trained on."""
GREEDY = "greedy"
"""One solution at temperature 0."""
PASS_AT_K = "pass_at_k"
"""Several solutions at temperature 1, nucleus 0.95 (the paper's section 5)."""

PROMPTS = Table(
    name="prompts",
    grain="one row per (problem, purpose, decoding) shown to the iteration's policy",
    key=("run_id", "iteration", "prompt_id"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("prompt_id", ColumnType.STRING, "hash of (problem, purpose, decoding, text)"),
        Column("problem_id", ColumnType.STRING, "the problem asked"),
        Column("purpose", ColumnType.STRING, "train, validation, test, or a transfer suite's name"),
        Column(
            "decoding",
            ColumnType.STRING,
            "how solutions are drawn",
            allowed=(SAMPLE, HINTED, GREEDY, PASS_AT_K),
        ),
        Column("num_samples", ColumnType.INT, "N: number of solutions to draw", minimum=1),
        Column("temperature", ColumnType.DOUBLE, "sampling temperature; 0 is greedy", minimum=0),
        Column("top_k", ColumnType.INT, "tokens considered per step; 0 is all", minimum=0),
        Column("top_p", ColumnType.DOUBLE, "nucleus mass", minimum=0, maximum=1),
        Column("max_tokens", ColumnType.INT, "longest solution, in tokens", minimum=1),
        Column("stop", ColumnType.STRINGS, "strings that end a solution"),
        Column("seed", ColumnType.LONG, "seed of the first solution; the j-th has seed + j"),
        Column("question", ColumnType.STRING, "the problem's question"),
        Column("reference", ColumnType.STRING, "the problem's reference, for the verifier"),
        Column("text", ColumnType.STRING, "what the policy sees"),
    ),
)
