"""Select: which samples become D_i, and for the others the first rule against them.

The order is that of the hash of (seed, sample_id), never of arrival: the same seed selects the same
samples however the rows are laid out. SHA-2 because every SQL engine and Python have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.config import CurateConfig, RunConfig
from pipelines.config.draws import m_step
from pipelines.stage import SparkStage
from pipelines.workload import Amount, Workload
from schemas import REWARDS, SAMPLES, SELECTIONS
from schemas.problems import TRAIN
from schemas.prompts import FOR_TRAINING
from schemas.rewards import REWARD
from schemas.samples import ENGINE_KILLED, STOP
from schemas.selections import (
    BELOW_THRESHOLD,
    DUPLICATE,
    KEPT,
    NO_END,
    NOT_DRAWN,
    OVER_CUTOFF,
    TOO_LONG,
    UNBALANCED,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


_EQUATION = r"[\d(][\d\s.,()+*/^%×÷·−-]*=\s*-?\d[\d.,]*(?<![.,])"
"""An arithmetic expression and its value: `3 + 4 = 7`, also inside `<<3+4=7>>`."""


def select(config: RunConfig, iteration: int) -> SparkStage:
    """The stage that selects the samples of D_i, see `select_samples`.

    Args:
        config: the run's.
        iteration: i.
    """
    later = m_step(config, iteration)
    return SparkStage(
        name="select",
        table=SELECTIONS,
        reads=(SAMPLES, REWARDS),
        function=lambda _, samples, rewards: select_samples(
            samples,
            rewards,
            config.curate.model_copy(update={"threshold": config.curate.threshold_of(later)}),
            config.seed,
            config.model.max_model_len,
        ),
        workload=Workload(Amount({TRAIN: config.sampling.num_samples_per_problem})),
    )


def select_samples(
    samples: DataFrame, rewards: DataFrame, config: CurateConfig, seed: int, max_model_len: int
) -> DataFrame:
    """One row per training sample: kept, or the first rule against it.

    The rules, in order: drawn (its prompt does not kill the engine); reward above the threshold; ended by itself; no longer than the model with
    prompt and end; one of several equal solutions of a problem; at most `cutoff` per problem; at
    most `max_rows` in all.
    """
    ranked = _rank(_candidates(config, seed, samples, rewards, max_model_len))
    if config.max_rows is not None:
        ranked = _balance(ranked, config.cutoff, config.max_rows)
    return _decide(ranked, config)


def _candidates(
    config: CurateConfig, seed: int, samples: DataFrame, rewards: DataFrame, max_model_len: int
) -> DataFrame:
    """The E-step's samples as keys: texts are reduced to a digest before rows are shuffled."""
    from pyspark.sql import functions as f

    untrainable = (
        f.when(f.col("finish_reason") == ENGINE_KILLED, NOT_DRAWN)
        .when(f.col("finish_reason") != STOP, NO_END)
        .when(f.col("num_prompt_tokens") + f.col("num_tokens") > max_model_len, TOO_LONG)
    )
    is_drawn_for_it = (f.col("purpose") == TRAIN) & f.col("decoding").isin(*FOR_TRAINING)
    drawn = samples.where(is_drawn_for_it).select(
        "sample_id",
        f.col("iteration").alias("drawn_in"),
        "problem_id",
        _same_solution(config).alias("same"),
        untrainable.alias("untrainable"),
    )
    scored = rewards.where(f.col("role") == REWARD).select("sample_id", "reward", "verdict")
    # In Spark NaN is greater than every number; it must not be kept.
    rewarded = ~f.isnan("reward")
    if config.threshold is not None:
        rewarded &= f.col("reward") > config.threshold
    return drawn.join(scored, on="sample_id", how="inner").select(
        "*",
        rewarded.alias("rewarded"),
        (rewarded & f.col("untrainable").isNull()).alias("passed"),
        _order(seed, "sample_id").alias("place"),
        (-f.col("reward") if config.order == "reward" else f.lit(0.0)).alias("before"),
    )


def _same_solution(config: CurateConfig) -> Column:
    """The key under which two solutions of a problem count as equal."""
    from pyspark.sql import functions as f

    if config.distinct == "none":
        return f.col("sample_id")
    text = f.col("solution")
    if config.distinct == "equations":
        found = f.regexp_extract_all(text, f.lit(_EQUATION), f.lit(0))
        text = f.regexp_replace(f.array_join(found, "|"), r"\s+|,(?=\d{3})", "")
    if config.distinct == "normalized_text":
        # In Java \s is ASCII only; (?U) extends it to all white space of Unicode.
        text = f.lower(f.trim(f.regexp_replace(text, r"(?U)\s+", " ")))
    return f.sha2(text, 256)


def _order(seed: int, column: str) -> Column:
    from pyspark.sql import functions as f

    return f.sha2(f.concat_ws("|", f.lit(str(seed)), f.col(column)), 256)


def _rank(considered: DataFrame) -> DataFrame:
    """Adds `first` (of its equals), `rank` among the problem's distinct ones, and `solved`.

    Both windows lie within a problem, so one shuffle by problem serves them all.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    equals = Window.partitionBy("problem_id", "passed", "same").orderBy(
        "before", "place", "sample_id"
    )
    rivals = Window.partitionBy("problem_id", "eligible").orderBy("before", "place", "sample_id")
    problem = Window.partitionBy("problem_id")
    return (
        considered.repartition("problem_id")
        .withColumn("first", f.row_number().over(equals) == 1)
        .withColumn("eligible", f.col("passed") & f.col("first"))
        .withColumn("rank", f.when(f.col("eligible"), f.row_number().over(rivals)))
        .withColumn("solved", f.count_if("passed").over(problem))
    )


def _balance(ranked: DataFrame, cutoff: int | None, max_rows: int) -> DataFrame:
    """Adds `balanced`: chosen round-robin over problems, those solved least often first."""
    from pyspark.sql import functions as f

    # A sorted limit, not a window over all rows: that would sort them in one task.
    taken = (
        ranked.where(f.col("rank").isNotNull() if cutoff is None else f.col("rank") <= cutoff)
        .orderBy("rank", "solved", "place", "sample_id")
        .limit(max_rows)
        .select("sample_id", f.lit(True).alias("taken"))
    )
    return ranked.join(taken, on="sample_id", how="left").withColumn(
        "balanced", f.coalesce("taken", f.lit(False))
    )


def _decide(ranked: DataFrame, config: CurateConfig) -> DataFrame:
    from pyspark.sql import functions as f

    reason = (
        f.when(f.col("untrainable") == NOT_DRAWN, NOT_DRAWN)
        .when(~f.col("rewarded"), BELOW_THRESHOLD)
        .when(~f.col("passed"), f.col("untrainable"))
        .when(~f.col("first"), DUPLICATE)
    )
    if config.cutoff is not None:
        reason = reason.when(f.col("rank") > config.cutoff, OVER_CUTOFF)
    if config.max_rows is not None:
        reason = reason.when(~f.col("balanced"), UNBALANCED)
    return (
        ranked.withColumn("reason", reason.otherwise(KEPT))
        .withColumn("kept", f.col("reason") == KEPT)
        .select(
            "sample_id", "problem_id", "drawn_in", "reward", "verdict", "kept", "reason", "rank"
        )
    )
