"""Metrics from literal samples and verdicts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from expectations import gate
from pipelines.config import EvaluationConfig, ProblemsConfig, RewardConfig, RunConfig, SourceConfig
from pipelines.metrics.pass_at_k import AnswerVotes
from pipelines.stages.evaluate import evaluate, evaluate_tallies
from pipelines.stages.tallies import tallies_of
from schemas import EVALUATIONS, POLICIES, PROBLEMS, PROMPTS, REWARDS, SAMPLES
from tests import factories
from tests.doubles import context

if TYPE_CHECKING:
    import pyarrow as pa
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
                    "answers": [
                        {"answer": f"answer {n}", "votes": v, "correct": c}
                        for n, (v, c) in enumerate(answers)
                    ],
                }
                for suite, decoding, problem, answers in rows
            ]
        ),
        RewardConfig(function="exact_match"),
        {},
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


def stored(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as the table of one run and iteration."""
    import pyarrow as pa

    shared = {"run_id": "run", "iteration": 0, "policy_id": "policy-0", "verifier": "exact_match"}
    return pa.Table.from_pylist(
        [{**shared, **row} for row in rows], schema=EVALUATIONS.arrow_schema()
    )


def test_a_value_that_every_problem_has_lies_in_its_interval() -> None:
    # The mean of 23 times 8/12 and the bootstrap's means differ in the last bit.
    problems = [("test", "pass_at_k", f"p{i}", [(8, 8), (4, 0)]) for i in range(23)]
    rows = evaluate_tallies(tallied(*problems), config(k=(1, 4, 8)).evaluation, 0)
    assert gate.check(EVALUATIONS, stored(rows)).critical_failures == ()


def test_rewards_outside_0_and_1_are_accepted() -> None:
    problems = [("test", "greedy", f"p{i}", [(1, 1)]) for i in range(5)]
    tallies = tallied(*problems)
    for reward in (2.0, -1.0):
        changed = {key: replace(tally, reward=np.full(5, reward)) for key, tally in tallies.items()}
        rows = evaluate_tallies(changed, config().evaluation, 0)
        assert values(rows)["test/greedy_reward"] == reward
        assert gate.check(EVALUATIONS, stored(rows)).critical_failures == ()


def test_none_or_all_solved_leaves_room_for_chance() -> None:
    for solved, low, high in ((0, 0.0, 0.104), (1, 0.896, 1.0)):
        problems = [("test", "greedy", f"p{i}", [(1, solved)]) for i in range(33)]
        problems += [("train", "sample", f"t{i}", [(4, 4 * solved)]) for i in range(33)]
        rows = evaluate_tallies(tallied(*problems), config().evaluation, 0)
        found = {(row["suite"], row["metric"]): row for row in rows}
        for metric in ("greedy_accuracy", "greedy_reward"):
            row = found["test", metric]
            assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-3)
        gap = found["train", "train_test_gap"]
        assert gap["ci_low"] == pytest.approx(-0.104, abs=1e-3)
        assert gap["ci_high"] == pytest.approx(0.104, abs=1e-3)


def test_groups_that_are_all_unsolved_leave_room_for_chance() -> None:
    problems = [("bbh", "greedy", f"p{i}", [(1, 0)]) for i in range(40)]
    groups = {"bbh": {f"p{i}": ("a", "b")[i % 2] for i in range(40)}}
    rows = evaluate_tallies(tallied(*problems), config().evaluation, 0, groups)
    highs = {row["suite"]: row["ci_high"] for row in rows if row["metric"] == "greedy_accuracy"}
    assert highs["bbh/a"] == highs["bbh/b"] == pytest.approx(0.161, abs=1e-3)
    # The mean of two independent groups is surer than each of them.
    assert highs["bbh"] == pytest.approx(0.161 / 2**0.5, abs=1e-3)


def test_equal_answers_are_one_vote() -> None:
    (row,) = tallied(("test", "pass_at_k", "a", [(1, 0)])).values()
    assert row.votes == ((AnswerVotes(1, 0.0),),)
    spelled = [
        {"answer": answer, "votes": votes, "correct": votes if right else 0}
        for answer, votes, right in (
            ("7", 3, False),
            (r"\frac12", 2, True),
            ("1/2", 2, True),
            (r"\sqrt{2}", 2, False),
            (r"\sqrt2", 1, False),
            ("2^{1/2}", 1, False),
        )
    ]
    table = votes_table(spelled)
    (tally,) = tallies_of(table, RewardConfig(), {}).values()
    assert sorted(tally.votes[0], key=lambda vote: (vote.votes, vote.credit)) == [
        AnswerVotes(3, 0.0),
        AnswerVotes(4, 0.0),
        AnswerVotes(4, 1.0),
    ]
    by_spelling = RewardConfig(function="python:module:function")
    (tally,) = tallies_of(table, by_spelling, {"suite": RewardConfig()}).values()
    assert len(tally.votes[0]) == 6


def votes_table(answers: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    drawn, right = (sum(row[name] for row in answers) for name in ("votes", "correct"))
    row = {"purpose": "test", "decoding": "pass_at_k", "problem_id": "a", "num_samples": drawn}
    return pa.Table.from_pylist(
        [{**row, "num_correct": right, "reward": right / drawn, "answers": answers}]
    )


@pytest.mark.slow
def test_further_verifiers_have_metrics_of_their_own(spark: SparkSession) -> None:
    verdicts = {  # by the run's reward, math_verify, hendrycks_math
        ("a", "greedy"): ("correct", "correct", "wrong"),
        ("b", "greedy"): ("wrong", "correct", "wrong"),
        ("a", "pass_at_k"): ("correct", "wrong", "correct"),
        ("b", "pass_at_k"): ("no_answer", "no_answer", "no_answer"),
    }
    names = ("math_answer", "math_verify", "hendrycks_math")
    samples = [
        {"sample_id": f"{problem} {decoding}", "problem_id": problem}
        | {"decoding": decoding, "purpose": "test"}
        for problem, decoding in verdicts
    ]
    rewards = [
        {"sample_id": f"{problem} {decoding}", "verifier": name, "verdict": verdict}
        | {"role": "reward" if name == "math_answer" else "evaluation", "extracted": "4"}
        | {"reward": float(verdict == "correct")}
        for (problem, decoding), given in verdicts.items()
        for name, verdict in zip(names, given, strict=True)
    ]
    further = [RewardConfig(function=name) for name in names[1:]]
    run = config(k=(1,), verifiers=tuple(further))
    frame = evaluate(run, 0).function(
        context(),
        spark.createDataFrame(factories.arrow(SAMPLES, *samples)),
        spark.createDataFrame(factories.arrow(REWARDS, *rewards)),
        spark.createDataFrame(factories.arrow(PROMPTS)),
        spark.createDataFrame(factories.arrow(PROBLEMS)),
        spark.createDataFrame(factories.arrow(POLICIES)),
    )
    rows = [row.asDict() for row in frame.collect()]
    found = {row["metric"]: (row["verifier"], row["value"]) for row in rows}
    assert len(found) == len(rows)
    assert found == {
        "greedy_accuracy": ("math_answer", 0.5),
        "greedy_reward": ("math_answer", 0.5),
        "mean_reward": ("math_answer", 0.5),
        "solved_share": ("math_answer", 0.5),
        "pass_at_1": ("math_answer", 0.5),
        "maj_at_1": ("math_answer", 0.5),
        "math_verify/greedy_accuracy": ("math_verify", 1.0),
        "math_verify/solved_share": ("math_verify", 0.0),
        "math_verify/pass_at_1": ("math_verify", 0.0),
        "math_verify/maj_at_1": ("math_verify", 0.0),
        "hendrycks_math/greedy_accuracy": ("hendrycks_math", 0.0),
        "hendrycks_math/solved_share": ("hendrycks_math", 0.5),
        "hendrycks_math/pass_at_1": ("hendrycks_math", 0.5),
        "hendrycks_math/maj_at_1": ("hendrycks_math", 0.5),
        "math_verify/agreement_with_math_answer": ("math_verify", 0.5),
        "hendrycks_math/agreement_with_math_answer": ("hendrycks_math", 0.5),
        "math_verify/agreement_with_hendrycks_math": ("math_verify", 0.0),
    }
    report = gate.check(EVALUATIONS, stored(rows))
    assert report.critical_failures == ()


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
    drawn_by = {"policy_id": "policy-7"}
    samples = [{"problem_id": p, "purpose": s, "decoding": d} | drawn_by for p, s, d, _, _ in draws]
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
        spark.createDataFrame(factories.arrow(POLICIES, {"policy_id": "trained again"})),
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
