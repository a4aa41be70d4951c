"""Render: what the policy of an iteration is asked, and how its solutions are drawn.

Every problem is asked with the few-shot prompt of the configuration, those of a suite with the
suite's own; a row of `prompts` is one (problem, purpose, decoding). The text is stored as the policy
sees it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pipelines.config import PromptConfig, RunConfig
from pipelines.config.draws import Draws, NamedDecoding, covered, draws, num_drawn
from pipelines.config.sizes import asked_sizes
from pipelines.config.suites import Suite, suites_of
from pipelines.stage import SparkStage, StageContext
from pipelines.stages.few_shot import exemplars_of, frame_of
from pipelines.workload import Amount, Workload
from schemas import PROBLEMS, PROMPTS
from schemas.problems import REFUSED

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


@dataclass(frozen=True)
class _Asked:
    """Problems that are asked in one way; the frame's columns are what a row of `prompts` needs."""

    problems: DataFrame
    """With `purpose`, `before` (the text before the question), and `draw`."""
    after: str
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
    return _Asked(asked, frame.after, sampling.max_tokens, sampling.stop, seed)


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
    return _Asked(
        asked, frame.after, suite.max_tokens, suite.stop, _seed(config.seed, iteration, key)
    )


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

    text = F.concat("before", "question", F.lit(asked.after))
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
