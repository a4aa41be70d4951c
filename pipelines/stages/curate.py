"""Curate: which rewarded samples become D_i, and the rows that the M-step is fine-tuned on.

Order is by the hash of (seed, sample_id), never by arrival: the same seed gives the same set
however the rows are laid out. `sha2` because every SQL engine and Python have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.config import CurateConfig
from pipelines.stage import SparkStage
from schemas.problems import TRAIN
from schemas.prompts import SAMPLE
from schemas.selections import BELOW_THRESHOLD, DUPLICATE, KEPT, OVER_CUTOFF, UNBALANCED

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def select_samples(config: CurateConfig, seed: int) -> SparkStage:
    """Samples and their rewards -> one row a training sample: kept, or the first rule against it.

    The rules, in order: reward above the threshold; one of several equal solutions of a problem;
    at most `cutoff` a problem; at most `max_rows` in all.
    """

    def select(samples: DataFrame, rewards: DataFrame) -> DataFrame:
        considered = _considered(config, seed, samples, rewards)
        ranked = _rank(considered)
        if config.max_rows is not None:
            ranked = _balance(ranked, config.cutoff, config.max_rows)
        return _decide(ranked, config)

    return SparkStage("select", select)


def assemble(config: CurateConfig) -> SparkStage:
    """Selections, samples and prompts -> training_set: what was kept, with its input and weight."""

    def curate(selections: DataFrame, samples: DataFrame, prompts: DataFrame) -> DataFrame:
        from pyspark.sql import functions as f

        drawn = samples.select("sample_id", "prompt_id", "policy_id", "num_tokens", "solution")
        shown = prompts.select("prompt_id", "num_shared_chars", f.col("text").alias("prompt"))
        return (
            selections.where("kept")
            .select("sample_id", "problem_id", "reward")
            .join(drawn, on="sample_id", how="inner")
            .join(shown, on="prompt_id", how="inner")
            .select(
                "sample_id",
                "problem_id",
                "policy_id",
                "reward",
                _weight(config).alias("weight"),
                "num_tokens",
                "num_shared_chars",
                "prompt",
                "solution",
            )
            .orderBy("problem_id", "sample_id")
        )

    return SparkStage("curate", curate)


def _considered(
    config: CurateConfig, seed: int, samples: DataFrame, rewards: DataFrame
) -> DataFrame:
    """The E-step's samples, keys only: texts are reduced to a digest before any row moves."""
    from pyspark.sql import functions as f

    drawn = samples.where((f.col("purpose") == TRAIN) & (f.col("decoding") == SAMPLE)).select(
        "sample_id", "problem_id", _same_solution(config).alias("same")
    )
    judged = rewards.select("sample_id", "reward", "verdict")
    # NaN is greater than every number in Spark; a reward that is none must not be kept.
    passed = (f.col("reward") > config.threshold) & ~f.isnan("reward")
    return drawn.join(judged, on="sample_id", how="inner").select(
        "*", passed.alias("passed"), _order(seed, "sample_id").alias("place")
    )


def _same_solution(config: CurateConfig) -> Column:
    """What two equal solutions of a problem have in common."""
    from pyspark.sql import functions as f

    if config.distinct == "none":
        return f.col("sample_id")
    text = f.col("solution")
    if config.distinct == "normalized_text":
        # \s is ASCII only in Java's expressions; (?U) takes every white space of Unicode.
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

    equals = Window.partitionBy("problem_id", "passed", "same").orderBy("place", "sample_id")
    rivals = Window.partitionBy("problem_id", "eligible").orderBy("place", "sample_id")
    problem = Window.partitionBy("problem_id")
    return (
        considered.repartition("problem_id")
        .withColumn("first", f.row_number().over(equals) == 1)
        .withColumn("eligible", f.col("passed") & f.col("first"))
        .withColumn("rank", f.when(f.col("eligible"), f.row_number().over(rivals)))
        .withColumn("solved", f.count_if("passed").over(problem))
    )


def _balance(ranked: DataFrame, cutoff: int, max_rows: int) -> DataFrame:
    """Adds `balanced`: taken round-robin over problems, those solved least often first."""
    from pyspark.sql import functions as f

    # A sorted limit, not a window over all rows: that would sort them in one task.
    taken = (
        ranked.where(f.col("rank") <= cutoff)
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
        f.when(~f.col("passed"), BELOW_THRESHOLD)
        .when(~f.col("first"), DUPLICATE)
        .when(f.col("rank") > config.cutoff, OVER_CUTOFF)
    )
    if config.max_rows is not None:
        reason = reason.when(~f.col("balanced"), UNBALANCED)
    return (
        ranked.withColumn("reason", reason.otherwise(KEPT))
        .withColumn("kept", f.col("reason") == KEPT)
        .select("sample_id", "problem_id", "reward", "verdict", "kept", "reason", "rank")
    )


def _weight(config: CurateConfig) -> Column:
    """f(r) of the paper's equation; the exponential one is reward-weighted regression's."""
    from pyspark.sql import functions as f

    if config.weight == "identity":
        return f.col("reward")
    return f.exp(f.col("reward") / config.beta)
