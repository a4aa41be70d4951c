"""Metrics from literal samples and verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipelines.config import EvaluationConfig, ProblemsConfig, RunConfig, SourceConfig
from pipelines.stages.evaluate import evaluate, evaluate_tallies, tallies_of
from schemas import EVALUATIONS, POLICIES, PROBLEMS, PROMPTS, REWARDS, SAMPLES
from tests import factories
from tests.doubles import context

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def config(**settings: Any) -> RunConfig:
    return RunConfig(
        name="run",
        problems=ProblemsConfig(sources=(SourceConfig(kind="jsonl", location="x.jsonl"),)),
        evaluation=EvaluationConfig(num_bootstrap=200, **settings),
    )


def tallied(*rows: tuple[str, str, str, list[tuple[int, int]]]) -> dict[Any, Any]:
    """Tallies from (suite, decoding, problem, votes) rows, each vote (votes, correct)."""
    import pyarrow as pa

    return tallies_of(
        pa.Table.from_pylist(
            [
                {
                    "purpose": suite,
                    "decoding": decoding,
                    "problem_id": problem,
                    "num_samples": sum(votes for votes, _ in answers),
                    "num_correct": sum(correct for _, correct in answers),
                    "reward": sum(c for _, c in answers) / sum(v for v, _ in answers),
                    "answers": [{"votes": v, "correct": c} for v, c in answers],
                }
                for suite, decoding, problem, answers in rows
            ]
        )
    )


def values(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {f"{row['suite']}/{row['metric']}": row["value"] for row in rows}


def test_each_metric_comes_from_its_own_draws() -> None:
    tallies = tallied(
        ("test", "greedy", "a", [(1, 1)]),
        ("test", "greedy", "b", [(1, 0)]),
        ("test", "pass_at_k", "a", [(3, 3), (1, 0)]),
        ("test", "pass_at_k", "b", [(1, 1), (3, 0)]),
        ("train", "sample", "c", [(1, 1), (1, 0)]),
        ("validation", "greedy", "d", [(1, 1)]),
    )
    found = values(evaluate_tallies(tallies, config(k=(1, 2, 4)).evaluation, 0))
    assert found == {
        "test/greedy_accuracy": 0.5,
        "test/greedy_reward": 0.5,
        "test/mean_reward": 0.5,
        "test/solved_share": 1.0,
        "test/pass_at_1": pytest.approx(0.5),
        "test/pass_at_2": pytest.approx((1 + 0.5) / 2),
        "test/pass_at_4": 1.0,
        "test/maj_at_1": pytest.approx(0.5),
        # a: half the pairs are (right, right), half tie; b: no pair is, half tie.
        "test/maj_at_2": pytest.approx((0.75 + 0.25) / 2),
        "test/maj_at_4": 0.5,
        "train/mean_reward": 0.5,
        "train/solved_share": 1.0,
        "train/pass_at_1": pytest.approx(0.5),
        "train/pass_at_2": 1.0,
        "train/maj_at_1": pytest.approx(0.5),
        "train/maj_at_2": pytest.approx(0.5),
        "train/train_test_gap": 0.0,
        "validation/greedy_accuracy": 1.0,
        "validation/greedy_reward": 1.0,
    }


def test_a_k_above_any_problem_s_draws_is_left_out() -> None:
    tallies = tallied(("test", "pass_at_k", "a", [(8, 1)]), ("test", "pass_at_k", "b", [(4, 1)]))
    found = values(evaluate_tallies(tallies, config(k=(1, 4, 8)).evaluation, 0))
    assert "test/pass_at_4" in found
    assert "test/pass_at_8" not in found
    assert "test/maj_at_8" not in found


def test_intervals_hold_the_value_and_repeat_with_the_seed() -> None:
    problems = [("test", "greedy", f"p{i}", [(1, int(i % 4 == 0))]) for i in range(60)]
    problems += [("train", "sample", f"t{i}", [(4, i % 3)]) for i in range(40)]
    rows = evaluate_tallies(tallied(*problems), config().evaluation, 0)
    assert rows == evaluate_tallies(tallied(*reversed(problems)), config().evaluation, 0)
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    gap = next(row for row in rows if row["metric"] == "train_test_gap")
    assert gap["ci_low"] < gap["value"] < gap["ci_high"]
    assert gap["n"] == 40


@pytest.mark.slow
def test_stored_samples_become_rows_of_evaluations(spark: SparkSession) -> None:
    draws = [
        ("a", "test", "greedy", "4", "correct"),
        ("b", "test", "greedy", "7", "wrong"),
        *[("a", "test", "pass_at_k", "4", "correct")] * 2,
        *[("a", "test", "pass_at_k", "5", "wrong")] * 1,
        ("a", "test", "pass_at_k", None, "no_answer"),
        *[("b", "test", "pass_at_k", " ", "no_answer")] * 4,
        *[("c", "train", "sample", "1", "correct")] * 2,
    ]
    samples = [{"problem_id": p, "purpose": s, "decoding": d} for p, s, d, _, _ in draws]
    rewards = [
        {"problem_id": p, "extracted": e, "verdict": v, "reward": float(v == "correct")}
        for p, _, _, e, v in draws
    ]
    frame = evaluate(config(k=(1, 4)), 0).function(
        context(),
        spark.createDataFrame(factories.arrow(SAMPLES, *samples)).repartition(3),
        spark.createDataFrame(factories.arrow(REWARDS, *rewards)),
        spark.createDataFrame(factories.arrow(PROMPTS)),
        spark.createDataFrame(factories.arrow(PROBLEMS)),
        spark.createDataFrame(factories.arrow(POLICIES, {"policy_id": "policy-7"})),
    )
    assert [(c.name, c.dataType) for c in frame.schema] == [
        (c.name, c.dataType)
        for c in EVALUATIONS.spark_schema()
        if c.name not in ("run_id", "iteration")
    ]
    rows = [row.asDict() for row in frame.collect()]
    assert {row["policy_id"] for row in rows} == {"policy-7"}
    found = values(rows)
    assert found["test/greedy_accuracy"] == 0.5
    assert found["test/pass_at_1"] == pytest.approx(0.25)
    assert found["test/pass_at_4"] == pytest.approx(0.5)
    assert found["test/maj_at_4"] == pytest.approx(0.5)
    assert found["test/solved_share"] == pytest.approx(0.5)
    assert found["train/train_test_gap"] == pytest.approx(0.5)
    assert {row["n"] for row in rows if row["suite"] == "test"} == {2}
