"""One row per solution y drawn from a policy for a prompt."""

from schemas.prompts import GREEDY, HINTED, PASS_AT_K, SAMPLE
from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

STOP = "stop"
LENGTH = "length"
PROMPT_TOO_LONG = "prompt_too_long"
ENGINE_ERROR = "error"
"""The engine ended the solution for a reason of its own."""
ENGINE_KILLED = "engine_killed"
"""The engine's process died each time that it drew the prompt, so there is no solution."""

SAMPLES = Table(
    name="samples",
    grain="one row per solution drawn",
    key=("run_id", "iteration", "sample_id"),
    columns=(
        RUN_ID,
        ITERATION,
        Column(
            "sample_id",
            ColumnType.STRING,
            "hash of (policy, prompt text, sampling parameters, seed, index)",
        ),
        Column("prompt_id", ColumnType.STRING, "the prompt answered"),
        Column("problem_id", ColumnType.STRING, "the problem answered"),
        Column("policy_id", ColumnType.STRING, "the policy that drew it"),
        Column("purpose", ColumnType.STRING, "the prompt's purpose"),
        Column(
            "decoding",
            ColumnType.STRING,
            "how it was drawn",
            allowed=(SAMPLE, HINTED, GREEDY, PASS_AT_K),
        ),
        Column("index", ColumnType.INT, "0 to N - 1 within the prompt", minimum=0),
        Column(
            "finish_reason",
            ColumnType.STRING,
            "why it ended",
            allowed=(STOP, LENGTH, PROMPT_TOO_LONG, ENGINE_ERROR, ENGINE_KILLED),
        ),
        Column(
            "stop_string",
            ColumnType.STRING,
            "the stop string that ended it, not part of the solution; "
            "null: the end-of-text token did, or it has no end",
            nullable=True,
        ),
        Column(
            "num_tokens",
            ColumnType.INT,
            "number of tokens drawn: the solution's and its end's",
            minimum=0,
        ),
        Column(
            "num_prompt_tokens",
            ColumnType.INT,
            "number of tokens of the prompt; 0 if it killed the engine",
            minimum=0,
        ),
        Column(
            "log_probability",
            ColumnType.DOUBLE,
            "sum of the tokens' log-probabilities under the policy, natural log",
            nullable=True,
            maximum=0,
        ),
        Column("seed", ColumnType.LONG, "the sample's seed"),
        Column("temperature", ColumnType.DOUBLE, "sampling temperature", minimum=0),
        Column("top_k", ColumnType.INT, "tokens considered per step; 0 is all", minimum=0),
        Column("top_p", ColumnType.DOUBLE, "nucleus mass", minimum=0, maximum=1),
        Column("max_tokens", ColumnType.INT, "longest solution, in tokens", minimum=1),
        Column("created_at", ColumnType.TIMESTAMP, "when it was drawn"),
        Column(
            "taken_from",
            ColumnType.STRING,
            "the run that drew it, if another one did; null: this run",
            nullable=True,
        ),
        Column("solution", ColumnType.STRING, "the text drawn"),
    ),
)
