"""Evaluate: the metrics of a policy from its stored samples, each with its interval.

Spark reduces the samples to one row per problem (draws, correct draws, votes); the metrics and the
bootstrap over problems are computed from those rows on the driver.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.config import EvaluationConfig, RewardConfig, RunConfig
from pipelines.config.suites import rewards_by_suite, suites_of
from pipelines.metrics.bootstrap import (
    Estimate,
    Floats,
    SampleMeans,
    difference,
    mean_of,
    sample_means,
)
from pipelines.metrics.pass_at_k import AnswerVotes, maj_at_k, pass_at_k
from pipelines.rewards.votes import Answer, Equality, equality_of, merged
from pipelines.stage import SparkStage, StageContext
from schemas import EVALUATIONS, POLICIES, PROBLEMS, PROMPTS, REWARDS, SAMPLES
from schemas.problems import TEST, TRAIN
from schemas.prompts import GREEDY, PASS_AT_K, SAMPLE
from schemas.rewards import CORRECT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

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


Metrics = dict[str, Metric]
"""Metric's name -> its values."""


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


def evaluate(config: RunConfig) -> SparkStage:
    """The stage that makes `evaluations` of one policy from its samples and rewards.

    | metric | from | meaning |
    |---|---|---|
    | greedy_accuracy, greedy_reward | greedy draws | share correct; mean reward |
    | pass_at_k | sampled draws | unbiased chance that one of k is correct |
    | maj_at_k | sampled draws | unbiased credit of the majority answer of k, equal answers being one |
    | mean_reward, solved_share | sampled draws | mean reward; share with a correct draw |
    | train_test_gap (suite train) | both | train pass_at_1 minus test greedy_accuracy |

    Sampled draws are those of decoding `pass_at_k` where a suite has them, else the E-step's.
    The gap is taken to the greedy accuracy because every run has it; sampled accuracy lies below
    greedy accuracy, so the gap starts below 0, and a rise indicates overfitting.
    A suite with `by` (BIG-Bench Hard: `task`) also has rows for each value of that field, as suite
    `<suite>/<value>`; its own rows are the mean over those. A suite graded by hand has no rewards,
    and no rows here. The prompts are an input so that the seal names their version; the samples
    carry all that is read.
    """

    def metrics(
        _: StageContext,
        samples: DataFrame,
        rewards: DataFrame,
        prompts: DataFrame,
        problems: DataFrame,
        policies: DataFrame,
    ) -> DataFrame:
        tallies = tallies_of(
            _per_problem(samples, rewards).toArrow(), config.reward, rewards_by_suite(config)
        )
        groups = _groups(problems, config)
        rows = evaluate_tallies(tallies, config.evaluation, config.seed, groups)
        (policy_id,) = policies.select("policy_id").toArrow()["policy_id"].to_pylist()
        made = pa.Table.from_pylist(
            [{"policy_id": policy_id, **row} for row in rows],
            schema=EVALUATIONS.arrow_schema(partition_columns=False),
        )
        return samples.sparkSession.createDataFrame(made)

    return SparkStage(
        name="evaluate",
        table=EVALUATIONS,
        reads=(SAMPLES, REWARDS, PROMPTS, PROBLEMS, POLICIES),
        function=metrics,
    )


Groups = Mapping[str, Mapping[str, str]]
"""Suite that is also evaluated by a field -> problem -> the field's value."""


def evaluate_tallies(
    tallies: dict[tuple[str, str], Tally],
    config: EvaluationConfig,
    seed: int,
    groups: Groups | None = None,
) -> list[dict[str, Any]]:
    """The rows of `evaluations`, from tallies by (suite, decoding)."""
    rows: list[dict[str, Any]] = []
    by_suite = groups or {}
    for suite in sorted({suite for suite, _ in tallies} & by_suite.keys()):
        rows += _grouped(suite, tallies, by_suite[suite], config, seed)
    for suite in sorted({suite for suite, _ in tallies} - by_suite.keys()):
        # One seed per suite, so that metrics of the same problems are resampled alike.
        key = (seed, zlib.crc32(suite.encode()))
        for name, metric in _suite_metrics(suite, tallies, config.k).items():
            rows.append(_row(suite, name, metric.sampled(config.num_bootstrap, key).estimate))
    gap = _train_test_gap(tallies, config.num_bootstrap, seed)
    if gap is not None:
        rows.append(_row(TRAIN, "train_test_gap", gap))
    return rows


def _grouped(
    suite: str,
    tallies: dict[tuple[str, str], Tally],
    group_of: Mapping[str, str],
    config: EvaluationConfig,
    seed: int,
) -> list[dict[str, Any]]:
    """A suite's rows by group and their mean, in which every group has the same weight."""
    parts = {
        (f"{suite}/{group}", decoding): tally.of({p for p, g in group_of.items() if g == group})
        for (name, decoding), tally in tallies.items()
        for group in sorted(set(group_of.values()))
        if name == suite
    }
    rows: list[dict[str, Any]] = []
    by_metric: dict[str, list[SampleMeans]] = {}
    for part in sorted({part for part, _ in parts}):
        key = (seed, zlib.crc32(part.encode()))
        for name, metric in _suite_metrics(part, parts, config.k).items():
            # Groups have different problems, so they are resampled independently.
            found = metric.sampled(config.num_bootstrap, key)
            rows.append(_row(part, name, found.estimate))
            by_metric.setdefault(name, []).append(found)
    return rows + [_row(suite, name, mean_of(several)) for name, several in by_metric.items()]


def _groups(problems: DataFrame, config: RunConfig) -> Groups:
    """The groups of the suites that have them, from the problems' own fields."""
    from pyspark.sql import functions as f

    found: dict[str, dict[str, str]] = {}
    for suite in suites_of(config):
        if suite.by is not None:
            value = f.coalesce(f.get_json_object("metadata", f"$.{suite.by}"), f.lit("none"))
            asked = problems.where(f.col("split") == suite.split).select("problem_id", value)
            found[suite.name] = {row[0]: row[1] for row in asked.collect()}
    return found


def tallies_of(
    table: pa.Table, reward: RewardConfig, own: Mapping[str, RewardConfig]
) -> dict[tuple[str, str], Tally]:
    """The tallies in the rows of `_per_problem`, by (suite, decoding).

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


def _per_problem(samples: DataFrame, rewards: DataFrame) -> DataFrame:
    """One row per (suite, decoding, problem): draws, correct draws, mean reward, votes per answer."""
    from pyspark.sql import functions as f

    problem = ("purpose", "decoding", "problem_id")
    # A blank answer is no answer: it does not vote.
    answer = f.expr("nullif(trim(extracted), '')")
    judged = rewards.select(
        "sample_id",
        "reward",
        (f.col("verdict") == CORRECT).alias("correct"),
        f.when(f.length(answer) > LONGEST_ANSWER, f.sha2(answer, 256))
        .otherwise(answer)
        .alias("answer"),
    )
    answers = (
        samples.select("sample_id", *problem)
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


def _suite_metrics(
    suite: str, tallies: dict[tuple[str, str], Tally], ks: tuple[int, ...]
) -> Metrics:
    values: Metrics = {}
    greedy = tallies.get((suite, GREEDY))
    if greedy is not None:
        values["greedy_accuracy"] = greedy.correct
        values["greedy_reward"] = greedy.mean_reward
    drawn = _drawn(suite, tallies)
    if drawn is not None:
        values["mean_reward"] = drawn.mean_reward
        values["solved_share"] = Metric((drawn.num_correct > 0).astype(np.float64))
        for k in ks:
            # A suite is averaged over all its problems or not at all.
            if k <= drawn.num_samples.min():
                values[f"pass_at_{k}"] = Metric(pass_at_k(drawn.num_samples, drawn.num_correct, k))
                values[f"maj_at_{k}"] = Metric(_majorities(drawn, k))
    return values


def _majorities(drawn: Tally, k: int) -> Floats:
    return np.array(
        [
            maj_at_k(int(n), votes, k)
            for n, votes in zip(drawn.num_samples, drawn.votes, strict=True)
        ]
    )


def _drawn(suite: str, tallies: dict[tuple[str, str], Tally]) -> Tally | None:
    return tallies.get((suite, PASS_AT_K)) or tallies.get((suite, SAMPLE))


def _train_test_gap(
    tallies: dict[tuple[str, str], Tally], num_bootstrap: int, seed: int
) -> Estimate | None:
    train, test = _drawn(TRAIN, tallies), tallies.get((TEST, GREEDY))
    if train is None or test is None:
        return None
    # Different problems, so the two are resampled independently.
    return difference(
        train.correct.sampled(num_bootstrap, (seed, 0)),
        test.correct.sampled(num_bootstrap, (seed, 1)),
    )


def _row(suite: str, metric: str, found: Estimate) -> dict[str, Any]:
    return {
        "suite": suite,
        "metric": metric,
        "value": found.value,
        "ci_low": found.low,
        "ci_high": found.high,
        "n": found.n,
    }
