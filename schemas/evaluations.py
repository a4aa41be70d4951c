"""One row per (policy, suite, metric): its value with an interval over problems.

The interval is the bootstrap's, or Wilson's where a share is the same on all problems (0 of n, n of n).
"""

from schemas.table import ITERATION, RUN_ID, Column, ColumnType, Table

EVALUATIONS = Table(
    name="evaluations",
    grain="one row per (policy, suite, metric)",
    key=("run_id", "iteration", "suite", "metric"),
    columns=(
        RUN_ID,
        ITERATION,
        Column("policy_id", ColumnType.STRING, "the policy evaluated"),
        Column(
            "suite",
            ColumnType.STRING,
            "train, validation, test, a transfer suite, or <suite>/<part>",
        ),
        Column(
            "metric",
            ColumnType.STRING,
            "greedy_accuracy, pass_at_1, pass_at_8, maj_at_8, ...; <verifier>/<metric> by a further "
            "verifier",
        ),
        Column(
            "verifier",
            ColumnType.STRING,
            "the reward whose verdicts the metric is made of; by_hand: marks that people gave",
        ),
        Column(
            "value", ColumnType.DOUBLE, "the metric, averaged over problems (graded_points: summed)"
        ),
        Column("ci_low", ColumnType.DOUBLE, "lower end of the 95 % interval"),
        Column("ci_high", ColumnType.DOUBLE, "upper end of the 95 % interval"),
        Column("n", ColumnType.LONG, "number of problems averaged over", minimum=1),
    ),
)
