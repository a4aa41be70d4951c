"""One row per verdict on a sample."""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

CORRECT = "correct"
WRONG = "wrong"
NO_ANSWER = "no_answer"
AMBIGUOUS = "ambiguous"
"""Several final answers that differ, between which the checker does not choose."""
TRUNCATED = "truncated"
PARSE_ERROR = "parse_error"
TIMEOUT = "timeout"
MEMORY = "memory"
ERROR = "error"

VERDICTS = (CORRECT, WRONG, NO_ANSWER, AMBIGUOUS, TRUNCATED, PARSE_ERROR, TIMEOUT, MEMORY, ERROR)
CHECKER_FAILURES = (PARSE_ERROR, TIMEOUT, MEMORY, ERROR)
"""Verdicts where the checker failed, not the solution."""
PROGRAM_CHECKER_FAILURES = (PARSE_ERROR, ERROR)
"""The same for `unit_tests`: a program that exceeds the time or memory limit fails by itself."""

REWARD = "reward"
"""r(x, y) of the run or the suite: what is trained on and evaluated by."""
EVALUATION = "evaluation"
"""A further verdict on the same sample (`evaluation.verifiers`), which is only evaluated."""

REWARDS = Table(
    name="rewards",
    grain="one row per (sample, verifier)",
    key=("run_id", "iteration", "sample_id", "verifier"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("sample_id", ColumnType.STRING, "the sample scored"),
        Column("problem_id", ColumnType.STRING, "the problem answered"),
        Column("verifier", ColumnType.STRING, "the reward function's name"),
        Column("verifier_version", ColumnType.STRING, "the reward function's version"),
        Column(
            "role",
            ColumnType.STRING,
            "reward: the verdict that the run goes by, one per sample; evaluation: a further one",
            allowed=(REWARD, EVALUATION),
        ),
        Column("reward", ColumnType.DOUBLE, "r(x, y)"),
        Column("verdict", ColumnType.STRING, "why the reward is what it is", allowed=VERDICTS),
        Column("extracted", ColumnType.STRING, "the answer found in the solution", nullable=True),
        Column(
            "detail",
            ColumnType.STRING,
            "what failed in the checker: the exception of a reward, with file and line",
            nullable=True,
        ),
        Column(
            "milliseconds",
            ColumnType.DOUBLE,
            "time of scoring; equal solutions are scored once",
            minimum=0,
        ),
    ),
)
