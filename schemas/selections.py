"""One row per sample drawn for a training problem: whether it is kept for training, and why not."""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

KEPT = "kept"
NOT_DRAWN = "engine_killed"
"""It has no solution, since its prompt kills the engine."""
BELOW_THRESHOLD = "reward_not_above_threshold"
NO_END = "no_end"
"""Cut at the token limit, or its prompt was too long: trained on, it would teach an end that it does not have."""
TOO_LONG = "too_long_to_train"
"""Longer, with its prompt and its end, than `model.max_model_len`."""
DUPLICATE = "duplicate_solution"
OVER_CUTOFF = "over_cutoff"
UNBALANCED = "over_balance_limit"

NOT_ACCEPTED = (NOT_DRAWN, BELOW_THRESHOLD)
"""The reasons of samples without a reward above the threshold."""

SELECTIONS = Table(
    name="selections",
    grain="one row per training sample of the E-step",
    key=("run_id", "iteration", "sample_id"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("sample_id", ColumnType.STRING, "the sample considered"),
        Column("problem_id", ColumnType.STRING, "the problem answered"),
        Column("drawn_in", ColumnType.INT, "iteration whose policy drew it", minimum=0),
        Column("reward", ColumnType.DOUBLE, "r(x, y)"),
        Column("verdict", ColumnType.STRING, "the verifier's verdict"),
        Column("kept", ColumnType.BOOLEAN, "whether the sample is in the training set"),
        Column(
            "reason",
            ColumnType.STRING,
            "'kept', or the first rule that dropped it",
            allowed=(
                KEPT,
                NOT_DRAWN,
                BELOW_THRESHOLD,
                NO_END,
                TOO_LONG,
                DUPLICATE,
                OVER_CUTOFF,
                UNBALANCED,
            ),
        ),
        Column("rank", ColumnType.INT, "place in the problem's seeded order, from 1", True, 1),
    ),
)
