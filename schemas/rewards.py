"""One row per verdict on a sample."""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

CORRECT = "correct"
WRONG = "wrong"
NO_ANSWER = "no_answer"
AMBIGUOUS = "ambiguous"
"""Several final answers that differ: which of them is meant is not the checker's to choose."""
TRUNCATED = "truncated"
PARSE_ERROR = "parse_error"
TIMEOUT = "timeout"
MEMORY = "memory"
ERROR = "error"

VERDICTS = (CORRECT, WRONG, NO_ANSWER, AMBIGUOUS, TRUNCATED, PARSE_ERROR, TIMEOUT, MEMORY, ERROR)
CHECKER_FAILURES = (PARSE_ERROR, TIMEOUT, MEMORY, ERROR)
"""Verdicts that say the checker failed, not the solution."""
PROGRAM_CHECKER_FAILURES = (PARSE_ERROR, ERROR)
"""The same of `unit_tests`: a program that takes too long or too much has failed by itself."""

REWARDS = Table(
    name="rewards",
    grain="one row per (sample, verifier)",
    key=("run_id", "iteration", "sample_id", "verifier"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("sample_id", ColumnType.STRING, "the sample judged"),
        Column("problem_id", ColumnType.STRING, "the problem answered"),
        Column("verifier", ColumnType.STRING, "the reward function's name"),
        Column("verifier_version", ColumnType.STRING, "the reward function's version"),
        Column("reward", ColumnType.DOUBLE, "r(x, y)"),
        Column("verdict", ColumnType.STRING, "why the reward is what it is", allowed=VERDICTS),
        Column("extracted", ColumnType.STRING, "the answer found in the solution", nullable=True),
        Column("milliseconds", ColumnType.DOUBLE, "time spent judging, once for equals", minimum=0),
    ),
)
