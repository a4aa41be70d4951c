"""Curate: D_i, the rows that the M-step is fine-tuned on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.config import CurateConfig, RunConfig
from pipelines.stage import SparkStage, StageContext
from pipelines.workload import Amount, Workload
from schemas import PROMPTS, SAMPLES, SELECTIONS, TRAINING_SET
from schemas.problems import TRAIN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def curate(config: RunConfig) -> SparkStage:
    """The stage that joins the kept samples with their prompts and weights."""

    def make(
        _: StageContext, selections: DataFrame, samples: DataFrame, prompts: DataFrame
    ) -> DataFrame:
        from pyspark.sql import functions as f

        drawn = samples.select(
            "sample_id", "prompt_id", "policy_id", "num_tokens", "solution", "stop_string"
        )
        shown = prompts.select("prompt_id", f.col("text").alias("prompt"))
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
                _weight(config.curate).alias("weight"),
                "num_tokens",
                "prompt",
                "solution",
                "stop_string",
            )
            .orderBy("problem_id", "sample_id")
        )

    kept = min(config.curate.cutoff, config.sampling.num_samples_per_problem)
    return SparkStage(
        name="curate",
        table=TRAINING_SET,
        reads=(SELECTIONS, SAMPLES, PROMPTS),
        function=make,
        workload=Workload(Amount({TRAIN: kept}, at_most=True)),
    )


def _weight(config: CurateConfig) -> Column:
    """f(r) of the paper's equation; the exponential one is reward-weighted regression's."""
    from pyspark.sql import functions as f

    if config.weight == "identity":
        return f.col("reward")
    return f.exp(f.col("reward") / config.beta)
