"""Suites in the stages: with their own prompts and draws, evaluated by suite and group."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.config.sizes import asked_sizes
from pipelines.errors import ConfigError, InputError
from pipelines.runs.plan import plan
from pipelines.stages.evaluate import evaluate, evaluate_tallies
from pipelines.stages.few_shot import exemplars_of
from pipelines.stages.ingest import ingest
from pipelines.stages.render import prompt_seed, render
from schemas import EVALUATIONS, POLICIES, PROBLEMS, PROMPTS, REWARDS, SAMPLES
from tests import factories
from tests.doubles import context
from tests.pipelines.config.test_suites import BBH, DIRECT, EXAM, config
from tests.pipelines.stages.test_evaluate import tallied, values

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


GROUPS = {"bbh": {"a": "logic", "b": "logic", "c": "sorting"}}


def test_a_suite_with_groups_has_a_row_per_group_and_is_their_mean() -> None:
    tallies = tallied(
        ("bbh", "greedy", "a", [(1, 1)]),
        ("bbh", "greedy", "b", [(1, 0)]),
        ("bbh", "greedy", "c", [(1, 1)]),
        ("test", "greedy", "t", [(1, 1)]),
    )
    rows = evaluate_tallies(tallies, config(BBH).evaluation, 0, GROUPS)
    assert values(rows) == {
        "bbh/logic/greedy_accuracy": 0.5,
        "bbh/logic/greedy_reward": 0.5,
        "bbh/sorting/greedy_accuracy": 1.0,
        "bbh/sorting/greedy_reward": 1.0,
        "bbh/greedy_accuracy": 0.75,  # Over two tasks; over three problems it would be 0.67.
        "bbh/greedy_reward": 0.75,
        "test/greedy_accuracy": 1.0,
        "test/greedy_reward": 1.0,
    }
    mean = next(r for r in rows if r["suite"] == "bbh" and r["metric"] == "greedy_accuracy")
    assert mean["n"] == 3
    # The one problem of sorting does not vary: its interval is Wilson's, from 0.21 to 1.
    assert mean["ci_low"] == pytest.approx(0.75 - math.hypot(0.5, 1 - 0.2065) / 2, abs=1e-3)
    assert mean["ci_high"] == 1.0


def test_the_interval_of_a_mean_over_groups_resamples_problems_within_groups() -> None:
    problems = [(f"{task}{n}", task, int(n % 2)) for task in "xyz" for n in range(40)]
    tallies = tallied(*[("bbh", "greedy", name, [(1, right)]) for name, _, right in problems])
    groups = {"bbh": {name: task for name, task, _ in problems}}
    run = config(BBH, evaluation={"num_bootstrap": 2000})
    rows = {r["suite"]: r for r in evaluate_tallies(tallies, run.evaluation, 0, groups)[::2]}
    width = {suite: row["ci_high"] - row["ci_low"] for suite, row in rows.items()}
    # 1.96 standard errors on both sides, of 40 problems and of 120.
    assert width["bbh/x"] == pytest.approx(2 * 1.96 * (0.25 / 40) ** 0.5, rel=0.15)
    assert width["bbh"] == pytest.approx(2 * 1.96 * (0.25 / 120) ** 0.5, rel=0.15)


def test_exemplars_per_task_are_read_below_the_mark(tmp_path: Path) -> None:
    (tmp_path / "snarks.txt").write_text("DO NOT TRAIN guid\n-----\nPick.\n\nQ: a\nA: (A)\n")
    (tmp_path / "navigate.txt").write_text("Walk.\n\nQ: b\nA: No\n\n")
    prompt = config(prompt={"exemplars_folder": str(tmp_path)}).prompt
    assert exemplars_of(prompt, ["navigate", "snarks"]) == {
        "navigate": "Walk.\n\nQ: b\nA: No\n\n",
        "snarks": "Pick.\n\nQ: a\nA: (A)\n\n",
    }
    with pytest.raises(InputError, match=r"cannot read .*ruin_names\.txt"):
        exemplars_of(prompt, ["ruin_names"])
    chat = config(prompt={"exemplars_folder": str(tmp_path), "chat": True}).prompt
    with pytest.raises(ConfigError, match="must not be set with chat"):
        exemplars_of(chat, [])


def test_a_plan_counts_suites_and_does_not_score_the_exam() -> None:
    test = {"kind": "math", "split": "test"}
    run = config(
        {**BBH, "source": {"kind": "bbh"}},
        DIRECT,
        {**EXAM, "source": {"kind": "hungarian_exam"}},
        problems={"sources": [{"kind": "math", "split": "train"}, test]},
        sampling={"max_tokens": 100},
    )
    assert asked_sizes(run) == {
        "train": 7498,
        "validation": 0,
        "test": 5000,
        "bbh": 6511,
        "direct": 6511,
        "exam": 33,
    }
    stages = {stage.stage: stage for stage in plan(run) if stage.iteration == 0}
    drawn = 32 * 7498 + 5000 + 6511 + 4 * 6511 + 33
    sizes = asked_sizes(run)
    totals = {name: s.rows.total(sizes) for name, s in stages.items() if s.rows is not None}
    assert totals["ingest"] == 7498 + 5000 + 6511 + 33
    assert (totals["generate"], totals["score"]) == (drawn, drawn - 33)
    tokens = stages["generate"].tokens
    assert tokens is not None
    assert tokens.total(sizes) == 100 * (drawn - 6511) + 9 * 6511


@pytest.mark.slow
def test_suites_are_rendered_with_their_own_prompt_and_decodings(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "snarks.txt").write_text("guid\n-----\nPick.")
    shots = {"template": "Q: {question}\nA:", "exemplars_folder": str(tmp_path)}
    run = config({**BBH, "prompt": shots}, DIRECT)
    table = factories.arrow(
        PROBLEMS,
        {"split": "test"},
        {"split": "bbh", "metadata": '{"file": "snarks", "task": "snarks"}'},
    )
    rows = render(run, 0).function(context(), spark.createDataFrame(table)).collect()
    found = {(row.purpose, row.decoding): row for row in rows}
    assert set(found) == {("test", "greedy"), ("bbh", "greedy"), ("direct", "pass_at_k")}
    bbh, direct = found["bbh", "greedy"], found["direct", "pass_at_k"]
    assert bbh.text == "Pick.\n\nQ: What is 2 + 2?\nA:"
    assert bbh.question == "What is 2 + 2?"
    assert (bbh.max_tokens, bbh.stop) == (9, ["\n\n"])
    assert direct.text == "Question: What is 2 + 2?\nAnswer:"
    assert (direct.num_samples, direct.temperature, direct.top_p) == (4, 1.0, 0.95)
    assert bbh.problem_id == direct.problem_id == "problem-2"
    assert direct.seed == prompt_seed(0, 0, "problem-2", "direct/pass_at_k", 4)
    columns = set(PROMPTS.column_names) - {"run_id", "iteration"}
    assert set(rows[0].asDict()) == columns


@pytest.mark.slow
def test_stored_samples_of_a_suite_become_evaluations_per_group(spark: SparkSession) -> None:
    tasks = ["logic", "logic", "sorting"]
    frames = [
        factories.arrow(SAMPLES, *[{"purpose": "bbh", "decoding": "greedy"}] * 3),
        factories.arrow(REWARDS, {"verdict": "wrong", "reward": 0.0}, {}, {}),
        factories.arrow(PROMPTS),
        factories.arrow(
            PROBLEMS, *[{"split": "bbh", "metadata": json.dumps({"task": t})} for t in tasks]
        ),
        factories.arrow(POLICIES),
    ]
    rows = evaluate(config(BBH), 0).function(context(), *map(spark.createDataFrame, frames))
    found = {(r.suite, r.metric): (r.value, r.n) for r in rows.collect()}
    assert found["bbh/logic", "greedy_accuracy"] == (0.5, 2)
    assert found["bbh/sorting", "greedy_accuracy"] == (1.0, 1)
    assert found["bbh", "greedy_accuracy"] == (0.75, 3)
    assert set(rows.columns) == set(EVALUATIONS.column_names) - {"run_id", "iteration"}


@pytest.mark.slow
def test_of_duplicates_the_one_held_out_is_kept(spark: SparkSession, tmp_path: Path) -> None:
    def source(name: str, *questions: str, **settings: Any) -> dict[str, Any]:
        lines = [json.dumps({"question": q, "answer": "0"}) for q in questions]
        (tmp_path / name).write_text("\n".join(lines))
        return {"kind": "jsonl", "location": str(tmp_path / name), "dataset": name, **settings}

    sources = [
        source("train", "One?", "Two?", "two? ", "Three?", "Four?", split="train"),
        source("val", "four?", "Five?", split="validation"),
        source("test", "ONE?", split="test"),
    ]
    suite = {"name": "exam", "source": source("exam", "three?", "five?", "Six?")}
    run = config(suite, problems={"sources": sources, "duplicates": "first"})
    given = context(spark=lambda: spark)
    rows = ingest(run).function(given).collect()
    assert {(row.split, row.question) for row in rows} == {
        ("train", "Two?"),
        ("validation", "four?"),
        ("test", "ONE?"),
        ("exam", "three?"),
        ("exam", "five?"),
        ("exam", "Six?"),
    }
    assert given.measures == {"duplicates_left_out": 5.0}
    refused = run.model_copy(
        update={"problems": run.problems.model_copy(update={"duplicates": "refuse"})}
    )
    with pytest.raises(
        InputError, match=r"train: row 2: question must be there once.* again in row 3;"
    ):
        ingest(refused).function(context(spark=lambda: spark))


@pytest.mark.slow
def test_at_most_max_problems_of_a_source_are_chosen_by_hash(
    spark: SparkSession, tmp_path: Path
) -> None:
    questions = [f"Question {n}?" for n in range(30)]

    def chosen(order: list[str], seed: int) -> set[str]:
        lines = [json.dumps({"question": q, "answer": "0"}) for q in order]
        (tmp_path / "a.jsonl").write_text("\n".join(lines))
        source = {"kind": "jsonl", "location": str(tmp_path / "a.jsonl"), "dataset": "a"}
        run = config(seed=seed, problems={"sources": [{**source, "max_problems": 7}]})
        rows = ingest(run).function(context(spark=lambda: spark)).collect()
        return {row.question for row in rows}

    first = chosen(questions, 0)
    assert len(first) == 7
    assert chosen(questions[::-1], 0) == first
    assert chosen(questions, 1) != first
