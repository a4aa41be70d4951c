"""Render: what the policy of an iteration is asked, and how its solutions are drawn.

Every problem is asked with the few-shot prompt of the configuration, those of a suite with the
suite's own; a row of `prompts` is one (problem, purpose, decoding). The text is stored as the policy
sees it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pipelines.config import PromptConfig, RunConfig
from pipelines.config.draws import (
    Draws,
    NamedDecoding,
    covered,
    draws,
    has_e_step,
    num_drawn,
)
from pipelines.config.sizes import asked_sizes
from pipelines.config.suites import Suite, suites_of
from pipelines.stage import SparkStage, StageContext
from pipelines.stages.few_shot import exemplars_of, frame_of
from pipelines.workload import Amount, Workload
from schemas import PROBLEMS, PROMPTS, REWARDS, SAMPLES
from schemas.problems import REFUSED, TRAIN
from schemas.prompts import HINTED, SAMPLE
from schemas.rewards import REWARD

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SEED_LIMIT = 2**31 - 4096
"""Seeds lie below it, with room for the samples' own: the j-th sample of a prompt has seed + j."""


def render(config: RunConfig, iteration: int) -> SparkStage:
    """The stage that makes the prompts of an iteration's policy from the problems."""

    def make(_: StageContext, problems: DataFrame) -> DataFrame:
        from pyspark.sql import functions as F

        suites = suites_of(config)
        own = problems.where(~F.col("split").isin([REFUSED, *(suite.name for suite in suites)]))
        if has_e_step(config, iteration):
            own = _mini_batch(own, config, iteration)
        asked = [
            _asked_by_run(own, config, iteration),
            *(_asked_by_suite(problems, suite, config, iteration) for suite in suites),
        ]
        return reduce(lambda rows, more: rows.unionByName(more), [_rows(one) for one in asked])

    numbers = num_drawn(config, iteration, list(asked_sizes(config)))
    return SparkStage(
        name="render",
        table=PROMPTS,
        reads=(PROBLEMS,),
        function=make,
        workload=Workload(Amount({purpose: len(n) for purpose, n in numbers.items()})),
        covers=covered(config, iteration),
    )


def render_hints(config: RunConfig, iteration: int) -> SparkStage:
    """The stage that asks problems again which no sample solved, with the answer as a hint.

    Rationalization: Zelikman et al., "STaR", 2022, section 3.2. The hint follows the question
    (`prompt.hint`), and solutions are drawn as in the E-step.
    """

    def make(
        _: StageContext, problems: DataFrame, samples: DataFrame, rewards: DataFrame
    ) -> DataFrame:
        from pyspark.sql import functions as F

        frame, sampling = frame_of(config), config.sampling
        (e_step,) = draws(config, iteration)[TRAIN]
        before, after = config.prompt.hint.split("{reference}", 1)
        hint = F.concat(F.lit(before), "reference", F.lit(after + frame.after))
        unsolved = _unsolved(samples, rewards, config.curate.threshold or 0.0)
        asked = problems.join(unsolved, on="problem_id", how="left_semi").select(
            "*",
            F.lit(TRAIN).alias("purpose"),
            F.lit(frame.before).alias("before"),
            F.explode(_draw_array((NamedDecoding(HINTED, e_step.decoding),))).alias("draw"),
        )
        seed = _seed(config.seed, iteration, F.col("draw.decoding"))
        return _rows(_Asked(asked, hint, sampling.max_tokens, sampling.stop, seed))

    return SparkStage(
        name="render_hints",
        table=PROMPTS,
        reads=(PROBLEMS, SAMPLES, REWARDS),
        function=make,
        workload=Workload(Amount({TRAIN: 1}, at_most=True)),
        is_beside_others=True,
    )


def _unsolved(samples: DataFrame, rewards: DataFrame, threshold: float) -> DataFrame:
    """The training problems of which no sample has a reward above the threshold."""
    from pyspark.sql import functions as F

    drawn = samples.where((F.col("purpose") == TRAIN) & (F.col("decoding") == SAMPLE))
    scored = rewards.where(F.col("role") == REWARD).select("sample_id", "reward")
    is_solved = (F.col("reward") > threshold) & ~F.isnan("reward")
    counted = drawn.join(scored, on="sample_id", how="inner").groupBy("problem_id")
    return counted.agg(F.count_if(is_solved).alias("n")).where("n = 0").select("problem_id")


def _mini_batch(problems: DataFrame, config: RunConfig, iteration: int) -> DataFrame:
    """The problems without the training problems that an E-step's mini-batch does not ask.

    An epoch orders the training problems by hash, and each E-step takes the next slice.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    size = config.sampling.problems_per_iteration
    if size is None:
        return problems
    per_epoch = math.ceil(problems.where(F.col("split") == TRAIN).count() / size)
    epoch, place = divmod(iteration // config.sampling.m_steps, max(per_epoch, 1))
    key = F.sha2(F.concat_ws("|", F.lit(f"{config.seed}|{epoch}"), "problem_id"), 256)
    ordered = Window.partitionBy("split").orderBy(key, "problem_id")
    rank = F.row_number().over(ordered) - 1
    is_asked = (F.col("split") != TRAIN) | F.floor(F.col("rank") / size).eqNullSafe(place)
    return problems.withColumn("rank", rank).where(is_asked).drop("rank")


@dataclass(frozen=True)
class _Asked:
    """Problems that are asked in one way; the frame's columns are what a row of `prompts` needs."""

    problems: DataFrame
    """With `purpose`, `before` (the text before the question), and `draw`."""
    after: Column
    """The text after the question."""
    max_tokens: int
    stop: tuple[str, ...]
    seed: Column


def _asked_by_run(problems: DataFrame, config: RunConfig, iteration: int) -> _Asked:
    """Train, validation and test, and what other splits the sources have."""
    from pyspark.sql import functions as F

    frame, sampling = frame_of(config), config.sampling
    asked = problems.select(
        "*",
        F.col("split").alias("purpose"),
        F.lit(frame.before).alias("before"),
        F.explode(_draws_of_split(draws(config, iteration))).alias("draw"),
    )
    seed = _seed(config.seed, iteration, F.col("draw.decoding"))
    return _Asked(asked, F.lit(frame.after), sampling.max_tokens, sampling.stop, seed)


def _asked_by_suite(problems: DataFrame, suite: Suite, config: RunConfig, iteration: int) -> _Asked:
    """A suite's problems, which may be those of another suite too."""
    from pyspark.sql import functions as F

    frame, ways = frame_of(config, suite.prompt), draws(config, iteration)[suite.name]
    its_own = problems.where(F.col("split") == suite.split)
    asked = its_own.select(
        "*",
        F.lit(suite.name).alias("purpose"),
        F.concat(_exemplars(its_own, suite.prompt), F.lit(frame.before)).alias("before"),
        F.explode(_draw_array(ways)).alias("draw"),
    )
    # Named, so that two suites that ask one thing of one problem have samples of their own.
    key = F.concat_ws("/", F.lit(suite.name), "draw.decoding")
    seed = _seed(config.seed, iteration, key)
    return _Asked(asked, F.lit(frame.after), suite.max_tokens, suite.stop, seed)


def _exemplars(problems: DataFrame, prompt: PromptConfig) -> Column:
    """The text of the problem's own exemplars, where the prompt has a folder of them."""
    from pyspark.sql import functions as F

    if prompt.exemplars_folder is None:
        return F.lit("")
    name = F.coalesce(F.get_json_object("metadata", "$.file"), F.lit(""))
    files = sorted(row[0] for row in problems.select(name).distinct().collect())
    texts = exemplars_of(prompt, files)
    return F.create_map(*[F.lit(part) for pair in texts.items() for part in pair])[name]


def _rows(asked: _Asked) -> DataFrame:
    from pyspark.sql import functions as F

    text = F.concat("before", "question", asked.after)
    stop = F.array(*[F.lit(string) for string in asked.stop]).cast("array<string>")
    return asked.problems.withColumn("text", text).select(
        _hashed("problem_id", "purpose", "draw.decoding", "text").alias("prompt_id"),
        "problem_id",
        "purpose",
        "draw.*",
        F.lit(asked.max_tokens).alias("max_tokens"),
        stop.alias("stop"),
        asked.seed.alias("seed"),
        "question",
        "reference",
        "text",
    )


def _draws_of_split(by_split: Draws) -> Column:
    from pyspark.sql import functions as F

    chosen = F.when(F.lit(False), _draw_array(()))
    for split, ways in by_split.items():
        if split:
            chosen = chosen.when(F.col("split") == split, _draw_array(ways))
    return chosen.otherwise(_draw_array(by_split[""]))


def _draw_array(ways: tuple[NamedDecoding, ...]) -> Column:
    from pyspark.sql import functions as F

    structs = [
        F.struct(
            F.lit(way.name).alias("decoding"),
            F.lit(way.decoding.num_samples).alias("num_samples"),
            F.lit(float(way.decoding.temperature)).alias("temperature"),
            F.lit(way.decoding.top_k).alias("top_k"),
            F.lit(float(way.decoding.top_p)).alias("top_p"),
        )
        for way in ways
    ]
    fields = "decoding:string,num_samples:int,temperature:double,top_k:int,top_p:double"
    return F.array(*structs).cast(f"array<struct<{fields}>>")


def _hashed(*columns: str) -> Column:
    from pyspark.sql import functions as F

    return F.substring(F.sha2(F.concat_ws("\n", *columns), 256), 1, 32)


def _seed(run_seed: int, iteration: int, decoding: Column) -> Column:
    from pyspark.sql import functions as F

    key = F.concat_ws("\n", F.lit(str(run_seed)), F.lit(str(iteration)), "problem_id", decoding)
    number = F.conv(F.substring(F.sha2(key, 256), 1, 12), 16, 10).cast("bigint")
    num_samples = F.col("draw.num_samples").cast("bigint")
    slots = F.floor(F.lit(SEED_LIMIT) / num_samples)
    return number % slots * num_samples


def prompt_seed(
    run_seed: int, iteration: int, problem_id: str, decoding: str, num_samples: int
) -> int:
    """The seed of a prompt's first sample, a multiple of N: two prompts' seeds seldom meet.

    A suite's prompts have `decoding` as `<suite>/<decoding>`.
    """
    key = "\n".join([str(run_seed), str(iteration), problem_id, decoding])
    number = int(hashlib.sha256(key.encode()).hexdigest()[:12], 16)
    return number % (SEED_LIMIT // num_samples) * num_samples


def prompt_id(problem_id: str, purpose: str, decoding: str, text: str) -> str:
    """Hash of what is asked and how."""
    key = "\n".join([problem_id, purpose, decoding, text])
    return hashlib.sha256(key.encode()).hexdigest()[:32]
