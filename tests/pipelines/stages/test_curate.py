"""What is kept for D_i: literal rows in, the reason of every row out."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.config import CurateConfig, RunConfig
from pipelines.stages.curate import curate
from pipelines.stages.select_samples import select_samples
from schemas import PROBLEMS, PROMPTS, REWARDS, SAMPLES, SELECTIONS, TRAINING_SET
from tests import factories
from tests.doubles import context

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.slow


def tables(spark: SparkSession, draws: list[dict[str, Any]]) -> tuple[DataFrame, DataFrame]:
    """Samples and rewards from (problem, solution, reward) rows, numbered from 1."""
    samples = [
        {
            "problem_id": draw["problem"],
            "solution": draw.get("solution", f"solution {number}"),
            "purpose": draw.get("purpose", "train"),
            "decoding": draw.get("decoding", "sample"),
            "prompt_id": f"prompt of {draw['problem']}",
            **draw.get("drawn", {}),
        }
        for number, draw in enumerate(draws)
    ]
    rewards = [
        {"problem_id": draw["problem"], "reward": draw.get("reward", 1.0), "verdict": "correct"}
        for draw in draws
    ]
    return (
        spark.createDataFrame(factories.arrow(SAMPLES, *samples)),
        spark.createDataFrame(factories.arrow(REWARDS, *rewards)),
    )


def select(
    samples: DataFrame, rewards: DataFrame, seed: int = 0, **settings: Any
) -> dict[str, dict[str, Any]]:
    rows = select_samples(samples, rewards, CurateConfig(**settings), seed, 128).collect()
    assert len({row["sample_id"] for row in rows}) == len(rows)
    return {row["sample_id"]: row.asDict() for row in rows}


def kept(selection: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, row in selection.items() if row["kept"]}


def place(seed: int, sample: str) -> str:
    return hashlib.sha256(f"{seed}|{sample}".encode()).hexdigest()


def many(problems: int = 6, draws: int = 12) -> list[dict[str, Any]]:
    return [
        {"problem": f"p{p}", "reward": float((p * draws + d) % 3 > 0), "solution": f"s{p} {d % 9}"}
        for p in range(problems)
        for d in range(draws)
    ]


def test_every_rule_names_what_it_drops(spark: SparkSession) -> None:
    draws: list[dict[str, Any]] = [
        {"problem": "a", "solution": "The answer is 4."},
        {"problem": "a", "solution": "  the  ANSWER\n is 4. "},
        {"problem": "a", "solution": "2 + 2 = 4"},
        {"problem": "a", "solution": "1 + 3 = 4"},
        {"problem": "a", "solution": "5", "reward": 0.0},
        {"problem": "b", "solution": "The answer is 4."},
    ]
    found = select(*tables(spark, draws), cutoff=2)

    # Two of the three distinct solutions of `a`, first by seeded hash order.
    twins = sorted(["sample-1", "sample-2"], key=lambda name: place(0, name))
    distinct = sorted([twins[0], "sample-3", "sample-4"], key=lambda name: place(0, name))
    reasons = {name: (row["reason"], row["rank"]) for name, row in found.items()}
    assert reasons == {
        twins[1]: ("duplicate_solution", None),
        distinct[0]: ("kept", 1),
        distinct[1]: ("kept", 2),
        distinct[2]: ("over_cutoff", 3),
        "sample-5": ("reward_not_above_threshold", None),
        "sample-6": ("kept", 1),
    }


def test_what_cannot_be_trained_on_is_dropped_and_takes_no_place(spark: SparkSession) -> None:
    ended = {"num_prompt_tokens": 100, "num_tokens": 28}
    draws: list[dict[str, Any]] = [
        {"problem": "a", "solution": "x", "drawn": {"finish_reason": "length"}},
        {"problem": "a", "solution": "x", "drawn": {**ended, "num_tokens": 29}},
        {"problem": "a", "solution": "x", "drawn": ended},
        {"problem": "a", "solution": "", "drawn": {"finish_reason": "prompt_too_long"}},
        {"problem": "a", "solution": "y", "drawn": {"finish_reason": "length"}, "reward": 0.0},
        {"problem": "a", "solution": "", "drawn": {"finish_reason": "engine_killed"}},
        {"problem": "a", "drawn": {"finish_reason": "engine_killed"}, "reward": 0.0},
    ]
    found = select(*tables(spark, draws), cutoff=1)
    assert {name: row["reason"] for name, row in found.items()} == {
        "sample-1": "no_end",
        "sample-2": "too_long_to_train",
        "sample-3": "kept",
        "sample-4": "no_end",
        "sample-5": "reward_not_above_threshold",
        "sample-6": "engine_killed",
        "sample-7": "engine_killed",
    }


def test_only_the_run_s_own_verdict_is_selected_by(spark: SparkSession) -> None:
    samples, rewards = tables(spark, [{"problem": "a"}, {"problem": "b", "reward": 0.0}])
    further = spark.createDataFrame(
        factories.arrow(
            REWARDS,
            *({"verifier": "math_verify", "role": "evaluation", "reward": 1.0} for _ in range(2)),
        )
    )
    found = select(samples, rewards.unionByName(further))
    assert kept(found) == {"sample-1"}
    assert len(found) == 2


def test_only_samples_of_the_e_step_are_considered(spark: SparkSession) -> None:
    draws = [
        {"problem": "a"},
        {"problem": "t", "purpose": "test", "decoding": "greedy"},
        {"problem": "a", "decoding": "greedy"},
        {"problem": "t", "purpose": "test", "decoding": "pass_at_k"},
    ]
    assert set(select(*tables(spark, draws))) == {"sample-1"}


def test_the_columns_are_those_of_the_table(spark: SparkSession) -> None:
    samples, rewards = tables(spark, many())
    found = select_samples(samples, rewards, CurateConfig(max_rows=3), 0, 128)
    declared = SELECTIONS.spark_schema()
    assert [(c.name, c.dataType) for c in found.schema] == [
        (c.name, c.dataType) for c in declared if c.name not in ("run_id", "iteration")
    ]


def test_the_choice_does_not_depend_on_the_layout_of_the_rows(spark: SparkSession) -> None:
    samples, rewards = tables(spark, many())
    first = select(samples, rewards, cutoff=3, max_rows=10)
    shuffled = select(
        samples.orderBy("solution", ascending=False).repartition(5),
        rewards.repartition(3, "reward"),
        cutoff=3,
        max_rows=10,
    )
    assert first == shuffled
    assert Counter(row["reason"] for row in first.values()).keys() == {
        "kept", "reward_not_above_threshold", "duplicate_solution", "over_cutoff",
        "over_balance_limit",
    }  # fmt: skip


def test_another_seed_chooses_other_samples_and_as_many(spark: SparkSession) -> None:
    samples, rewards = tables(spark, many())
    first = select(samples, rewards, seed=1, cutoff=2)
    second = select(samples, rewards, seed=2, cutoff=2)
    assert kept(first) != kept(second)
    assert len(kept(first)) == len(kept(second)) == 12


@pytest.mark.parametrize("distinct", ["none", "text", "normalized_text"])
def test_equal_solutions_are_told_as_the_setting_says(spark: SparkSession, distinct: str) -> None:
    draws = [{"problem": "a", "solution": text} for text in ["x = 1", "x = 1", "X\u00a0=  1"]]
    found = kept(select(*tables(spark, draws), distinct=distinct))
    assert len(found) == {"none": 3, "text": 2, "normalized_text": 1}[distinct]


def test_a_wrong_twin_does_not_take_the_place_of_a_rewarded_one(spark: SparkSession) -> None:
    draws = [{"problem": "a", "solution": "x", "reward": float(n == 5)} for n in range(10)]
    assert kept(select(*tables(spark, draws))) == {"sample-6"}


def test_a_reward_that_is_no_number_is_not_above_any_threshold(spark: SparkSession) -> None:
    draws = [{"problem": "a", "reward": math.nan}, {"problem": "a", "reward": -0.5}]
    found = select(*tables(spark, draws), threshold=-1.0)
    assert kept(found) == {"sample-2"}


def test_balance_takes_each_problem_in_turn_the_rarest_solved_first(spark: SparkSession) -> None:
    solved = {"often": 6, "seldom": 2, "once": 1}
    draws = [{"problem": name} for name, count in solved.items() for _ in range(count)]
    problem_of = {f"sample-{n}": draw["problem"] for n, draw in enumerate(draws, 1)}

    def counts(max_rows: int) -> dict[str, int]:
        found = select(*tables(spark, draws), cutoff=4, max_rows=max_rows)
        return dict(Counter(problem_of[name] for name in kept(found)))

    assert counts(1) == {"once": 1}
    assert counts(4) == {"once": 1, "seldom": 2, "often": 1}
    assert counts(100) == {"once": 1, "seldom": 2, "often": 4}


def assembled(spark: SparkSession, **settings: Any) -> tuple[Any, set[str]]:
    samples, rewards = tables(spark, many())
    source = {"kind": "jsonl", "location": "x.jsonl"}
    config = RunConfig.model_validate(
        {"name": "r", "problems": {"sources": [source]}, "curate": settings}
    )
    selections = select_samples(samples, rewards, config.curate, 0, 128)
    prompts = spark.createDataFrame(
        factories.arrow(
            PROMPTS,
            *[
                {"prompt_id": f"prompt of p{p}", "problem_id": f"p{p}", "text": f"Q p{p}"}
                for p in range(6)
            ],
        )
    )
    problems = spark.createDataFrame(
        factories.arrow(PROBLEMS, *[{"problem_id": f"p{p}", "solution": f"h{p}"} for p in range(6)])
    )
    table = curate(config).function(context(), selections, samples, prompts, problems)
    return table, {row["sample_id"] for row in selections.where("kept").collect()}


def test_the_training_set_is_what_was_kept_with_its_prompt(spark: SparkSession) -> None:
    table, chosen = assembled(spark, cutoff=3)
    rows = table.collect()
    assert {row["sample_id"] for row in rows} == chosen
    assert len(rows) == len(chosen)
    assert all(row["prompt"] == f"Q {row['problem_id']}" for row in rows)
    assert {row["stop_string"] for row in rows} == {"\n\n"}
    assert all(row["solution"].startswith(f"s{row['problem_id'][1:]} ") for row in rows)
    assert [(c.name, c.dataType) for c in table.schema] == [
        (c.name, c.dataType)
        for c in TRAINING_SET.spark_schema()
        if c.name not in ("run_id", "iteration")
    ]
    keys = [(row["problem_id"], row["sample_id"]) for row in rows]
    assert keys == sorted(keys)


def test_weights_follow_the_reward_as_the_setting_says(spark: SparkSession) -> None:
    identity, _ = assembled(spark, cutoff=1)
    assert {row["weight"] for row in identity.collect()} == {1.0}
    exponential, _ = assembled(spark, cutoff=1, weight="exponential", beta=0.5)
    weights = [row["weight"] for row in exponential.collect()]
    assert weights == pytest.approx([math.exp(2.0)] * 6)


def test_a_null_threshold_keeps_every_sample_that_has_a_reward(spark: SparkSession) -> None:
    draws = [{"problem": "a", "reward": r} for r in (-3.0, 0.0, 1.0, math.nan)]
    found = select(*tables(spark, draws), threshold=None, distinct="none", cutoff=None)
    assert kept(found) == {"sample-1", "sample-2", "sample-3"}


def test_without_a_cutoff_every_distinct_correct_solution_is_kept(spark: SparkSession) -> None:
    draws = [{"problem": "a"} for _ in range(30)]
    assert len(kept(select(*tables(spark, draws), cutoff=None))) == 30
    assert len(kept(select(*tables(spark, draws), cutoff=None, max_rows=7))) == 7


def test_the_best_of_n_is_kept_and_ties_are_broken_by_the_seed(spark: SparkSession) -> None:
    """RAFT: argmax of the reward, Dong et al. 2023, Algorithm 1."""
    chance = random.Random(0)
    draws: list[dict[str, Any]] = [
        {"problem": f"p{n % 20}", "reward": chance.choice([0.2, 0.5, 0.9])} for n in range(160)
    ]
    by_seed = [
        kept(select(*tables(spark, draws), seed, order="reward", cutoff=1)) for seed in (0, 1)
    ]
    for chosen in by_seed:
        rewards: dict[str, list[float]] = {}
        for draw in draws:
            rewards.setdefault(draw["problem"], []).append(draw["reward"])
        numbers = [int(name.removeprefix("sample-")) - 1 for name in chosen]
        assert {draws[n]["problem"]: draws[n]["reward"] for n in numbers} == {
            problem: max(values) for problem, values in rewards.items()
        }
    assert by_seed[0] != by_seed[1]


def test_solutions_with_the_same_equations_in_the_same_order_are_one(spark: SparkSession) -> None:
    """RFT's reasoning paths: 3+4 and 4+3, or another order, differ (Yuan et al. 2023, section 3.3)."""
    solutions = [
        "He has 3 + 4 = 7 apples, then <<7*2=14>>14.",
        "3+4=7, so twice that is 7*2=14",
        "4 + 3 = 7 and 7*2 = 14",
        "7*2 = 14 because 3+4 = 7",
        "1,000 + 1 = 1,001.",
        "1000 + 1 = 1001",
        "no equation at all, x = 5",
        "none here either",
    ]
    draws = [{"problem": "a", "solution": text} for text in solutions]
    found = select(*tables(spark, draws), distinct="equations", cutoff=None)
    groups = [{1, 2}, {3}, {4}, {5, 6}, {7, 8}]
    numbers = {int(name.removeprefix("sample-")) for name in kept(found)}
    assert all(len(group & numbers) == 1 for group in groups)
    assert len(numbers) == len(groups)


def test_human_solutions_are_trained_on_beside_or_instead_of_samples(spark: SparkSession) -> None:
    table, chosen = assembled(spark, human_solutions="add", cutoff=2, weight="one")
    rows = {row["sample_id"]: row for row in table.collect()}
    human = [row for row in rows.values() if row["origin"] == "human"]
    assert len(human) == 6
    assert {row["solution"] for row in human} == {f"h{p}" for p in range(6)}
    assert {(row["weight"], row["policy_id"], row["drawn_in"], row["reward"]) for row in human} == {
        (1.0, None, None, None)
    }
    assert {name for name, row in rows.items() if row["origin"] == "drawn"} == chosen
    alone, _ = assembled(spark, human_solutions="only")
    assert {row["sample_id"] for row in alone.collect()} == {row["sample_id"] for row in human}


def test_exponential_weights_of_large_rewards_keep_their_ratios(spark: SparkSession) -> None:
    draws = [{"problem": "a", "reward": r} for r in (9_000.0, 9_001.0, 9_003.0)]
    samples, rewards = tables(spark, draws)
    curated = weights_of(spark, samples, rewards, weight="exponential")
    assert [value / curated[0] for value in curated] == pytest.approx([1.0, math.e, math.exp(3)])
    shares = weights_of(spark, samples, rewards, weight="exponential", per_problem=True)
    assert sum(shares) == pytest.approx(1.0)


def weights_of(
    spark: SparkSession, samples: DataFrame, rewards: DataFrame, **settings: Any
) -> list[float]:
    """The weights of the samples in the order of their numbers; one problem, all kept."""
    source = {"kind": "jsonl", "location": "x.jsonl"}
    curated = {"threshold": None, "distinct": "none", **settings}
    config = RunConfig.model_validate(
        {"name": "r", "problems": {"sources": [source]}, "curate": curated}
    )
    selections = select_samples(samples, rewards, config.curate, 0, 128)
    asked = [{"problem_id": "a", "prompt_id": "prompt of a"}]
    prompts = spark.createDataFrame(factories.arrow(PROMPTS, *asked))
    problems = spark.createDataFrame(factories.arrow(PROBLEMS, {"problem_id": "a"}))
    rows = curate(config).function(context(), selections, samples, prompts, problems).collect()
    return [row["weight"] for row in sorted(rows, key=lambda row: row["sample_id"])]
