"""Verdicts counted per problem, which the metrics are computed from.

Spark reduces the verdicts to one row per problem (draws, correct draws, votes, agreement of verifiers);
the rest is arrays over problems on the driver.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.config import RewardConfig
from pipelines.metrics.bootstrap import Floats, SampleMeans, sample_means
from pipelines.metrics.pass_at_k import AnswerVotes
from pipelines.rewards.votes import Answer, Equality, equality_of, merged
from schemas.rewards import CORRECT, REWARD

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

LONGEST_ANSWER = 200
"""Characters of an answer that are read to compare it; a longer one votes by its hash."""


@dataclass(frozen=True)
class Metric:
    """A metric's value on each problem of a suite."""

    values: Floats
    is_share: bool = True
    """Whether the values are shares, from 0 to 1."""

    def sampled(self, num_bootstrap: int, seed: tuple[int, int]) -> SampleMeans:
        """Its mean over problems, with an interval."""
        return sample_means(self.values, num_bootstrap, seed, share=self.is_share)


@dataclass(frozen=True)
class Tally:
    """Draws and rewards of one suite under one decoding; arrays over problems."""

    problem_ids: tuple[str, ...]
    num_samples: Floats
    num_correct: Floats
    reward: Floats
    """Mean reward of the problem's samples."""

    @property
    def correct(self) -> Metric:
        """Share of the problem's samples that are correct."""
        return Metric(self.num_correct / self.num_samples)

    @property
    def mean_reward(self) -> Metric:
        """Mean reward of the problem's samples, a share if the reward is 1 or 0."""
        return Metric(self.reward, is_share=np.allclose(self.reward, self.correct.values))

    votes: tuple[tuple[AnswerVotes, ...], ...]

    def of(self, problem_ids: Set[str]) -> Tally:
        """The tally of some of the problems."""
        kept = [n for n, problem in enumerate(self.problem_ids) if problem in problem_ids]
        return Tally(
            tuple(self.problem_ids[n] for n in kept),
            self.num_samples[kept],
            self.num_correct[kept],
            self.reward[kept],
            tuple(self.votes[n] for n in kept),
        )


def tallies_of(
    table: pa.Table, reward: RewardConfig, own: Mapping[str, RewardConfig]
) -> dict[tuple[str, str], Tally]:
    """The tallies in the rows of `per_problem`, by (suite, decoding).

    Args:
        table: the rows.
        reward: the run's reward, whose equality tells which answers are one vote.
        own: suite -> its reward.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        groups.setdefault((row["purpose"], row["decoding"]), []).append(row)
    return {
        (suite, decoding): _tally(
            sorted(rows, key=lambda row: row["problem_id"]), equality_of(own.get(suite, reward))
        )
        for (suite, decoding), rows in groups.items()
    }


def _tally(rows: list[dict[str, Any]], equality: Equality | None) -> Tally:
    def column(name: str) -> Floats:
        return np.array([row[name] for row in rows], dtype=np.float64)

    return Tally(
        tuple(row["problem_id"] for row in rows),
        column("num_samples"),
        column("num_correct"),
        column("reward"),
        tuple(_votes(row["answers"], equality) for row in rows),
    )


def _votes(answers: list[dict[str, Any]], equality: Equality | None) -> tuple[AnswerVotes, ...]:
    found = [Answer(row["answer"], row["votes"], row["correct"]) for row in answers]
    return tuple(
        AnswerVotes(answer.votes, answer.correct / answer.votes)
        for answer in merged(found, equality)
    )


def per_problem(samples: DataFrame, rewards: DataFrame) -> DataFrame:
    """One row per (verifier, suite, decoding, problem): draws, correct draws, mean reward, votes.

    `further` is the name of a further verifier, and empty for the verdicts that the run goes by.
    """
    from pyspark.sql import functions as f

    problem = ("further", "purpose", "decoding", "problem_id")
    # A blank answer is no answer: it does not vote.
    answer = f.expr("nullif(trim(extracted), '')")
    judged = rewards.select(
        "sample_id",
        _further().alias("further"),
        "reward",
        (f.col("verdict") == CORRECT).alias("correct"),
        f.when(f.length(answer) > LONGEST_ANSWER, f.sha2(answer, 256))
        .otherwise(answer)
        .alias("answer"),
    )
    answers = (
        samples.select("sample_id", "purpose", "decoding", "problem_id")
        .join(judged, on="sample_id", how="inner")
        .groupBy(*problem, "answer")
        .agg(
            f.count("*").alias("votes"),
            f.count_if("correct").alias("correct"),
            f.sum("reward").alias("reward"),
        )
    )
    vote = f.when(f.col("answer").isNotNull(), f.struct("answer", "votes", "correct"))
    return answers.groupBy(*problem).agg(
        f.sum("votes").alias("num_samples"),
        f.sum("correct").alias("num_correct"),
        (f.sum("reward") / f.sum("votes")).alias("reward"),
        f.collect_list(vote).alias("answers"),
    )


def agreements(samples: DataFrame, rewards: DataFrame) -> DataFrame:
    """One row per (suite, decoding, problem, pair of verifiers): the share of draws they agree on.

    Two verifiers agree on a draw if both find it correct or neither does. `first` and `second` are as
    `further` in `per_problem`, in alphabetical order.
    """
    from pyspark.sql import functions as f

    verdicts = rewards.select(
        "sample_id", _further().alias("name"), (f.col("verdict") == CORRECT).alias("correct")
    )
    first = verdicts.withColumnsRenamed({"name": "first", "correct": "ours"})
    second = verdicts.withColumnsRenamed({"name": "second", "correct": "theirs"})
    return (
        samples.select("sample_id", "purpose", "decoding", "problem_id")
        .join(first, on="sample_id", how="inner")
        .join(second, on="sample_id", how="inner")
        .where("first < second")
        .groupBy("purpose", "decoding", "problem_id", "first", "second")
        .agg(f.avg((f.col("ours") == f.col("theirs")).cast("double")).alias("share"))
    )


def _further() -> Column:
    from pyspark.sql import functions as f

    return f.when(f.col("role") == REWARD, "").otherwise(f.col("verifier"))
