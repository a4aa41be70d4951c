"""Evaluate: the metrics of a policy from its stored samples, each with its interval.

Spark reduces the samples to one row per problem (draws, correct draws, votes); the metrics and the
bootstrap over problems are computed from those rows on the driver.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.config import EvaluationConfig, RunConfig
from pipelines.config.draws import covered
from pipelines.config.suites import suites_of
from pipelines.metrics.bootstrap import Estimate, Floats, bootstrap_means, estimate, interval
from pipelines.metrics.pass_at_k import AnswerVotes, maj_at_k, pass_at_k
from pipelines.stage import SparkStage, StageContext
from schemas import EVALUATIONS, POLICIES, PROBLEMS, PROMPTS, REWARDS, SAMPLES
from schemas.problems import TEST, TRAIN
from schemas.prompts import GREEDY, PASS_AT_K, SAMPLE
from schemas.rewards import CORRECT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Metrics = dict[str, Floats]
"""Metric -> its value on each problem of a suite."""


@dataclass(frozen=True)
class Tally:
    """Draws and rewards of one suite under one decoding; arrays over problems."""

    problem_ids: tuple[str, ...]
    num_samples: Floats
    num_correct: Floats
    reward: Floats
    """Mean reward of the problem's samples."""
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


def evaluate(config: RunConfig, iteration: int) -> SparkStage:
    """The stage that makes `evaluations` of one policy from its samples and rewards.

    | metric | from | meaning |
    |---|---|---|
    | greedy_accuracy, greedy_reward | greedy draws | share correct; mean reward |
    | pass_at_k | sampled draws | unbiased chance that one of k is correct |
    | maj_at_k | sampled draws | unbiased credit of the majority answer of k |
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
        tallies = tallies_of(_per_problem(samples, rewards).toArrow())
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
        covers=covered(config, iteration),
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
        measure = partial(
            estimate, num_bootstrap=config.num_bootstrap, seed=(seed, zlib.crc32(suite.encode()))
        )
        for name, values in _suite_metrics(suite, tallies, config.k).items():
            rows.append(_row(suite, name, measure(values)))
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
    draws: dict[str, list[tuple[Estimate, Floats]]] = {}
    for part in sorted({part for part, _ in parts}):
        key = (seed, zlib.crc32(part.encode()))
        for name, values in _suite_metrics(part, parts, config.k).items():
            # Groups have different problems, so they are resampled independently.
            means = bootstrap_means(values, config.num_bootstrap, key)
            low, high = interval(means)
            found = Estimate(float(values.mean()), float(low), float(high), len(values))
            rows.append(_row(part, name, found))
            draws.setdefault(name, []).append((found, means))
    return rows + [_row(suite, name, _mean_over(several)) for name, several in draws.items()]


def _mean_over(groups: list[tuple[Estimate, Floats]]) -> Estimate:
    low, high = interval(np.mean([means for _, means in groups], axis=0))
    value = float(np.mean([found.value for found, _ in groups]))
    return Estimate(value, float(low), float(high), sum(found.n for found, _ in groups))


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


def tallies_of(table: pa.Table) -> dict[tuple[str, str], Tally]:
    """The tallies in the rows of `_per_problem`, by (suite, decoding)."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        groups.setdefault((row["purpose"], row["decoding"]), []).append(row)
    return {
        key: _tally(sorted(rows, key=lambda row: row["problem_id"])) for key, rows in groups.items()
    }


def _tally(rows: list[dict[str, Any]]) -> Tally:
    def column(name: str) -> Floats:
        return np.array([row[name] for row in rows], dtype=np.float64)

    return Tally(
        tuple(row["problem_id"] for row in rows),
        column("num_samples"),
        column("num_correct"),
        column("reward"),
        tuple(
            tuple(
                AnswerVotes(vote["votes"], vote["correct"] / vote["votes"])
                for vote in row["answers"]
            )
            for row in rows
        ),
    )


def _per_problem(samples: DataFrame, rewards: DataFrame) -> DataFrame:
    """One row per (suite, decoding, problem): draws, correct draws, mean reward, votes per answer."""
    from pyspark.sql import functions as f

    problem = ("purpose", "decoding", "problem_id")
    judged = rewards.select(
        "sample_id",
        "reward",
        (f.col("verdict") == CORRECT).alias("correct"),
        # A blank answer is no answer: it does not vote.
        f.expr("nullif(trim(extracted), '')").alias("answer"),
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
    vote = f.when(f.col("answer").isNotNull(), f.struct("votes", "correct"))
    return answers.groupBy(*problem).agg(
        f.sum("votes").alias("num_samples"),
        f.sum("correct").alias("num_correct"),
        (f.sum("reward") / f.sum("votes")).alias("reward"),
        f.sort_array(f.collect_list(vote)).alias("answers"),
    )


def _suite_metrics(
    suite: str, tallies: dict[tuple[str, str], Tally], ks: tuple[int, ...]
) -> Metrics:
    values: Metrics = {}
    greedy = tallies.get((suite, GREEDY))
    if greedy is not None:
        values["greedy_accuracy"] = greedy.num_correct / greedy.num_samples
        values["greedy_reward"] = greedy.reward
    drawn = _drawn(suite, tallies)
    if drawn is not None:
        values["mean_reward"] = drawn.reward
        values["solved_share"] = (drawn.num_correct > 0).astype(np.float64)
        for k in ks:
            # A suite is averaged over all its problems or not at all.
            if k <= drawn.num_samples.min():
                values[f"pass_at_{k}"] = pass_at_k(drawn.num_samples, drawn.num_correct, k)
                values[f"maj_at_{k}"] = _majorities(drawn, k)
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
    seen, unseen = train.num_correct / train.num_samples, test.num_correct / test.num_samples
    # Different problems, so the two are resampled independently.
    draws = bootstrap_means(seen, num_bootstrap, (seed, 0)) - bootstrap_means(
        unseen, num_bootstrap, (seed, 1)
    )
    low, high = interval(draws)
    return Estimate(float(seen.mean() - unseen.mean()), float(low), float(high), len(seen))


def _row(suite: str, metric: str, found: Estimate) -> dict[str, Any]:
    return {
        "suite": suite,
        "metric": metric,
        "value": found.value,
        "ci_low": found.low,
        "ci_high": found.high,
        "n": found.n,
    }
