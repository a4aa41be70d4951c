"""Evaluate: the metrics of a policy from its stored samples, each with its interval.

The metrics and the bootstrap over problems are computed on the driver, from the verdicts that
`tallies.py` has counted per problem.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.config import EvaluationConfig, RunConfig
from pipelines.config.draws import covered
from pipelines.config.suites import rewards_by_suite, suites_of, verifiers_by_split
from pipelines.metrics.bootstrap import Estimate, Floats, SampleMeans, difference, mean_of
from pipelines.metrics.pass_at_k import maj_at_k, pass_at_k
from pipelines.rewards.resolve import verifier_name
from pipelines.stage import SparkStage, StageContext
from pipelines.stages.tallies import Metric, Tally, agreements, per_problem, tallies_of
from schemas import EVALUATIONS, POLICIES, PROBLEMS, PROMPTS, REWARDS, SAMPLES
from schemas.problems import TEST, TRAIN
from schemas.prompts import GREEDY, PASS_AT_K, SAMPLE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OF_A_REWARD = ("greedy_reward", "mean_reward")
"""Metrics of the run's own reward only: a further verifier's are its accuracies."""
Metrics = dict[str, Metric]
"""Metric's name -> its values."""


def evaluate(config: RunConfig, iteration: int) -> SparkStage:
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
    and no rows here.

    By each further verifier (`evaluation.verifiers`) there are greedy_accuracy, solved_share, pass_at_k
    and maj_at_k as `<verifier>/<metric>`, and `<verifier>/agreement_with_<other>`: the share of greedy
    draws (of sampled ones, where there are no greedy ones) that both find correct or neither does.
    The prompts and the policy are inputs so that the seal names their versions; the samples
    carry all that is read.
    """

    def metrics(
        _: StageContext,
        samples: DataFrame,
        rewards: DataFrame,
        prompts: DataFrame,
        problems: DataFrame,
        _policies: DataFrame,
    ) -> DataFrame:
        counted = per_problem(samples, rewards).toArrow()
        groups = _groups(problems, config)
        own = _of_verifier(counted, "")
        tallies = tallies_of(own, config.reward, rewards_by_suite(config))
        rows = evaluate_tallies(tallies, config.evaluation, config.seed, groups)
        rows = [{**row, "verifier": _own_name(config, row["suite"])} for row in rows]
        if verifiers_by_split(config):
            rows += _by_further_verifiers(config, counted, groups)
            rows += agreement_rows(config, agreements(samples, rewards).toArrow().to_pylist())
        # Of the samples: a policy that was lost may have been trained again, with other weights.
        drawn_by = samples.select("policy_id").limit(1).toArrow()["policy_id"].to_pylist()
        made = pa.Table.from_pylist(
            [{"policy_id": drawn_by[0], **row} for row in rows],
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
        key = (seed, zlib.crc32(suite.encode()))
        for name, metric in _suite_metrics(suite, tallies, config.k).items():
            rows.append(_row(suite, name, metric.sampled(config.num_bootstrap, key).estimate))
    gap = _train_test_gap(tallies, config.num_bootstrap, seed)
    if gap is not None:
        rows.append(_row(TRAIN, "train_test_gap", gap))
    return rows


def _of_verifier(counted: pa.Table, name: str) -> pa.Table:
    import pyarrow.compute as pc

    return counted.filter(pc.equal(counted["further"], pa.scalar(name)))


def _own_name(config: RunConfig, suite: str) -> str:
    """The verifier that the run goes by on a suite, or on a part of one."""
    name = suite.partition("/")[0]
    return verifier_name(rewards_by_suite(config).get(name, config.reward))


def _by_further_verifiers(
    config: RunConfig, counted: pa.Table, groups: Groups
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    by_split = verifiers_by_split(config)
    names = {verifier_name(one) for several in by_split.values() for one in several}
    for name in sorted(names):
        own = {
            split: one
            for split, several in by_split.items()
            for one in several
            if verifier_name(one) == name
        }
        tallies = tallies_of(_of_verifier(counted, name), config.reward, own)
        rows += [
            {**row, "metric": f"{name}/{row['metric']}", "verifier": name}
            for row in evaluate_tallies(tallies, config.evaluation, config.seed, groups)
            if row["metric"] not in OF_A_REWARD
        ]
    return rows


def agreement_rows(config: RunConfig, shares: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The agreement of verifiers as rows of `evaluations`.

    Args:
        config: the run's.
        shares: rows of `agreements`.
    """
    by_pair: dict[tuple[str, str, str], dict[str, dict[str, float]]] = {}
    for row in shares:
        pair = (row["purpose"], row["first"], row["second"])
        drawn = by_pair.setdefault(pair, {}).setdefault(row["decoding"], {})
        drawn[row["problem_id"]] = row["share"]
    rows = []
    for (suite, first, second), by_decoding in sorted(by_pair.items()):
        drawn = by_decoding.get(GREEDY) or next(iter(by_decoding.values()))
        metric = Metric(np.array([drawn[problem] for problem in sorted(drawn)]))
        key = (config.seed, zlib.crc32(suite.encode()))
        found = metric.sampled(config.evaluation.num_bootstrap, key).estimate
        name = f"{second}/agreement_with_{first or _own_name(config, suite)}"
        rows.append({**_row(suite, name, found), "verifier": second})
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
