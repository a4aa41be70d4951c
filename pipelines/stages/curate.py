"""Curate: D_i, the rows that the M-step is fine-tuned on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.config import CurateConfig, RunConfig
from pipelines.stage import SparkStage, StageContext
from pipelines.stages.few_shot import Frame, frame_of
from pipelines.workload import Amount, Workload
from schemas import PROBLEMS, PROMPTS, SAMPLES, SELECTIONS, TRAINING_SET
from schemas.problems import TRAIN
from schemas.prompts import HINTED as WITH_HINT
from schemas.prompts import SAMPLE
from schemas.training_set import DRAWN, HINTED, HUMAN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_LARGEST_EXPONENT = 50.0


def curate(config: RunConfig) -> SparkStage:
    """The stage that joins the kept samples with their prompts and weights.

    A sample that was drawn with a hint gets the prompt without it. Human solutions are added, or
    take the place of samples, as `curate.human_solutions` says.
    """

    def make(
        _: StageContext,
        selections: DataFrame,
        samples: DataFrame,
        prompts: DataFrame,
        problems: DataFrame,
    ) -> DataFrame:
        if config.curate.human_solutions == "none":
            rows = _drawn(selections, samples, prompts, config.curate)
        else:
            rows = _human(problems, frame_of(config), config.sampling.stop)
            if config.curate.human_solutions == "add":
                rows = rows.unionByName(_drawn(selections, samples, prompts, config.curate))
        return rows.orderBy("problem_id", "sample_id")

    kept = config.curate.max_kept(config.sampling.num_samples_per_problem)
    return SparkStage(
        name="curate",
        table=TRAINING_SET,
        reads=(SELECTIONS, SAMPLES, PROMPTS, PROBLEMS),
        function=make,
        workload=Workload(Amount({TRAIN: kept}, at_most=True)),
    )


def _drawn(
    selections: DataFrame, samples: DataFrame, prompts: DataFrame, config: CurateConfig
) -> DataFrame:
    """The kept samples with the prompts of their problems."""
    from pyspark.sql import functions as f

    drawn = samples.select(
        "sample_id", "policy_id", "decoding", "num_tokens", "solution", "stop_string"
    )
    plain = (f.col("purpose") == TRAIN) & (f.col("decoding") == SAMPLE)
    shown = prompts.where(plain).select("problem_id", f.col("text").alias("prompt"))
    kept = selections.where("kept").select("sample_id", "problem_id", "drawn_in", "reward")
    rows = kept.join(drawn, on="sample_id", how="inner").join(shown, on="problem_id", how="inner")
    origin = f.when(f.col("decoding") == WITH_HINT, HINTED).otherwise(DRAWN)
    return _weighted(rows, config).select(
        "sample_id",
        "problem_id",
        origin.alias("origin"),
        "drawn_in",
        "policy_id",
        "reward",
        "weight",
        "num_tokens",
        "prompt",
        "solution",
        "stop_string",
    )


def _human(problems: DataFrame, frame: Frame, stop: tuple[str, ...]) -> DataFrame:
    """The human solutions of the training problems, each with weight 1.

    They end as the policy's solutions do: with the first stop string, if there is one.
    """
    from pyspark.sql import functions as f

    key = f.concat_ws("\n", f.lit(HUMAN), "problem_id", "solution")
    return problems.where((f.col("split") == TRAIN) & f.col("solution").isNotNull()).select(
        f.substring(f.sha2(key, 256), 1, 32).alias("sample_id"),
        "problem_id",
        f.lit(HUMAN).alias("origin"),
        f.lit(None).cast("int").alias("drawn_in"),
        f.lit(None).cast("string").alias("policy_id"),
        f.lit(None).cast("double").alias("reward"),
        f.lit(1.0).alias("weight"),
        f.lit(None).cast("int").alias("num_tokens"),
        f.concat(f.lit(frame.before), "question", f.lit(frame.after)).alias("prompt"),
        "solution",
        f.lit(stop[0] if stop else None).cast("string").alias("stop_string"),
    )


def _weighted(rows: DataFrame, config: CurateConfig) -> DataFrame:
    """Adds `weight`, f(r) of the paper's equation; the exponential one is reward-weighted regression's."""
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    if config.weight == "exponential":
        # exp() of a large reward would be infinite. A common factor changes nothing, see fine_tune.
        largest = rows.agg((f.max("reward") / config.beta).alias("largest"))
        shift = f.greatest(f.col("largest") - _LARGEST_EXPONENT, f.lit(0.0))
        exponent = f.col("reward") / config.beta - shift
        weighted = rows.crossJoin(f.broadcast(largest)).withColumn("weight", f.exp(exponent))
    else:
        weight: Column = f.col("reward") if config.weight == "identity" else f.lit(1.0)
        weighted = rows.withColumn("weight", weight)
    if not config.per_problem:
        return weighted
    total = f.sum("weight").over(Window.partitionBy("problem_id"))
    return weighted.withColumn("weight", f.col("weight") / total)
