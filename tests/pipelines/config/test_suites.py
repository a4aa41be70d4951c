"""Suites: asked in their own way, judged by their own reward, evaluated by suite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from expectations.context import Context
from pipelines.config import RunConfig
from pipelines.config.load import load_config
from pipelines.config.suites import by_hand, rewards_by_suite, suites_of
from pipelines.errors import ConfigError, InputError
from pipelines.lake.location import Location
from pipelines.lake.snapshot import TableSnapshot
from pipelines.runs.check_context import _problems, _rewards
from pipelines.runs.plan import asked_sizes, plan
from pipelines.runtime.progress import SilentProgress
from pipelines.scoring.shares import Only, Share, score_suites, shares_of
from pipelines.stage import StreamStage, WrittenFile
from pipelines.stages.evaluate import evaluate, evaluate_tallies
from pipelines.stages.few_shot import exemplars_of
from pipelines.stages.ingest import ingest
from pipelines.stages.render import prompt_seed, render
from pipelines.stages.score import score
from schemas import EVALUATIONS, PROBLEMS, PROMPTS, REWARDS, SAMPLES
from tests import factories
from tests.lake_fixture import write_lake
from tests.pipelines.stages.test_evaluate import tallied, values
from tests.pipelines.stages.test_score import Folder, Rows, committed, no_ray, prompts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SOURCE = {"kind": "jsonl", "location": "x.jsonl"}
EXAM = {"name": "exam", "source": SOURCE, "reward": {"function": "by_hand"}}
BBH = {
    "name": "bbh",
    "source": SOURCE,
    "prompt": {"template": "Q: {question}\nA:"},
    "reward": {"function": "exact_match"},
    "stop": ["\n\n"],
    "max_tokens": 9,
    "by": "task",
}
DIRECT = {
    "name": "direct",
    "problems_of": "bbh",
    "reward": {"function": "exact_match", "options": {"extract": ["first_line"]}},
    "greedy": False,
    "pass_at_k": {"num_samples": 4, "temperature": 1.0, "top_p": 0.95},
}
PLAIN = {"name": "plain", "source": SOURCE}


def config(*suites: dict[str, Any], **settings: Any) -> RunConfig:
    evaluation = {"suites": list(suites), "num_bootstrap": 200, **settings.pop("evaluation", {})}
    tree = {"name": "r", "problems": {"sources": [SOURCE]}, "evaluation": evaluation}
    return RunConfig.model_validate(tree | settings)


def test_a_suite_takes_from_the_run_what_it_leaves_open() -> None:
    run = config(BBH, PLAIN, sampling={"stop": ["\n"], "max_tokens": 77})
    bbh, plain = suites_of(run)
    assert (bbh.max_tokens, bbh.stop, bbh.by) == (9, ("\n\n",), "task")
    assert (plain.max_tokens, plain.stop, plain.by) == (77, ("\n",), None)
    assert (plain.prompt, plain.reward) == (run.prompt, run.reward)


def test_a_suite_shares_the_problems_of_another() -> None:
    suites = suites_of(config(BBH, DIRECT, {"name": "again", "problems_of": "test"}))
    assert [(suite.name, suite.split) for suite in suites] == [
        ("bbh", "bbh"),
        ("direct", "bbh"),
        ("again", "test"),
    ]


@pytest.mark.parametrize(
    ("suites", "says"),
    [
        (({"name": "test", "source": SOURCE},), "name must not be a split's, got 'test'"),
        (({"name": "a"},), "must have a source, or problems_of, and not both"),
        (({**BBH, "problems_of": "test"},), "must have a source, or problems_of, and not both"),
        (({**PLAIN, "greedy": False},), "a suite without greedy must have pass_at_k"),
        ((PLAIN, PLAIN), "suites must have different names, 'plain' is there twice"),
        ((DIRECT,), "problems_of must be test or a suite with a source, got 'bbh'"),
        ((BBH, DIRECT, {"name": "c", "problems_of": "direct"}), "got 'direct'"),
    ],
)
def test_suites_that_cannot_be_are_refused(suites: tuple[dict[str, Any], ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        config(*suites)


def test_the_runs_own_reward_cannot_be_by_hand() -> None:
    with pytest.raises(ValueError, match="only a suite may be graded by hand"):
        config(reward={"function": "by_hand"})


def test_each_sample_has_one_judge_or_is_graded_by_hand() -> None:
    run = config(BBH, DIRECT, PLAIN, EXAM)
    found = {share.condition: share.config.reward for share in shares_of(run)}
    assert found == {
        "purpose NOT IN ('bbh', 'direct', 'exam')": run.reward,
        "purpose IN ('bbh')": rewards_by_suite(run)["bbh"],
        "purpose IN ('direct')": rewards_by_suite(run)["direct"],
    }
    assert by_hand(run) == ["exam"]
    assert [share.task for share in shares_of(run)] == ["score", "score bbh", "score direct"]
    assert shares_of(config())[0].condition == "true"


class Purposes(Rows):
    """Rows that can be asked for by purpose."""

    def arrow(self, columns: list[str] | None = None, where: str | None = None) -> pa.Table:
        import duckdb

        table = self.table
        if where is not None:
            rows = duckdb.from_arrow(table).filter(where)
            table = rows.to_arrow_table()
        return table.select(columns) if columns else table


def answers(*rows: tuple[str, str, str]) -> Purposes:
    """Samples of (purpose, prompt, solution)."""
    return Purposes(
        pa.table(
            {
                "sample_id": [f"s{n}" for n in range(len(rows))],
                "problem_id": [prompt for _, prompt, _ in rows],
                "prompt_id": [prompt for _, prompt, _ in rows],
                "purpose": [purpose for purpose, _, _ in rows],
                "finish_reason": ["stop"] * len(rows),
                "solution": [solution for _, _, solution in rows],
            }
        )
    )


def scored(run: RunConfig, drawn: Rows, asked: Rows, folder: Path) -> tuple[Any, dict[str, float]]:
    def stage_of(share: Share) -> StreamStage:
        return score(share.config, SilentProgress(), no_ray)

    stage, writer = score_suites(run, stage_of), Folder(str(folder))
    groups: Iterator[list[WrittenFile]] = stage.function(
        drawn, asked, committed=committed([]), writer=writer
    )
    rows = writer.read([file for group in groups for file in group])
    return {row["sample_id"]: row for row in rows}, stage.measures


def test_every_suite_is_judged_by_its_own_reward_and_the_exam_by_nobody(tmp_path: Path) -> None:
    drawn = answers(
        ("train", "n", r"\boxed{1}"),
        ("bbh", "w", "So the answer is yes."),
        ("direct", "w", "yes"),
        ("bbh", "w", "yes"),
        ("exam", "e", "The answer is 1."),
        ("plain", "n", "So the answer is yes."),
    )
    rows, measures = scored(
        config(BBH, DIRECT, PLAIN, EXAM), drawn, prompts(n="1", w="yes", e=""), tmp_path
    )
    assert {key: (row["verifier"], row["verdict"]) for key, row in rows.items()} == {
        "s0": ("math_answer", "correct"),
        "s1": ("exact_match", "correct"),
        "s2": ("exact_match", "correct"),
        "s3": ("exact_match", "no_answer"),
        "s5": ("math_answer", "wrong"),
    }
    assert rows["s1"]["verifier_version"] != rows["s2"]["verifier_version"]
    assert (measures["samples"], measures["verdict_correct"]) == (5, 3)


def test_a_part_of_a_stored_table_is_read_by_purpose(tmp_path: Path) -> None:
    lake = write_lake(tmp_path)
    whole = TableSnapshot(SAMPLES, Location(str(lake), {}), "first", 1, 1)
    tested = Only(whole, "purpose IN ('test')")
    others = Only(whole, "purpose NOT IN ('test', 'exam')")
    assert set(tested.arrow(["purpose"])["purpose"].to_pylist()) == {"test"}
    assert tested.count() + others.count() == Only(whole, "true").count() == whole.count()
    assert tested.count("decoding = 'greedy' OR true") == tested.count() > 0
    assert (tested.iteration, tested.version) == (1, 1)


def test_the_gate_wants_verdicts_for_all_samples_but_those_graded_by_hand() -> None:
    drawn = answers(("train", "a", "1"), ("exam", "e", "2"), ("bbh", "b", "3"))
    judged = drawn.table.select(["sample_id"]).slice(0, 1)
    inputs: dict[str, Any] = {"samples": drawn}
    context = _rewards(config(EXAM, BBH), 0, judged, inputs)
    assert context.expected_rows == 2
    assert context.samples_without_verdict is not None
    assert [row["sample_id"] for row in context.samples_without_verdict.examples] == ["s2"]


def test_references_are_verified_by_the_reward_of_their_suite() -> None:
    rows = factories.arrow(
        PROBLEMS,
        {"split": "train", "reference": "4"},
        {"split": "bbh", "reference": "yes"},
        {"split": "bbh", "reference": " "},
        {"split": "exam", "reference": ""},
    )
    context: Context = _problems(config(BBH, EXAM), 0, rows, {})
    assert context.refused_references is not None
    assert [row["reference"] for row in context.refused_references.examples] == [" "]


GROUPS = {"bbh": {"a": "logic", "b": "logic", "c": "sorting"}}


def test_a_suite_by_task_has_a_row_a_task_and_is_their_mean() -> None:
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
    assert (mean["ci_low"], mean["ci_high"]) == (0.5, 1.0)


def test_the_mean_by_task_has_the_interval_of_problems_resampled_within_their_tasks() -> None:
    problems = [(f"{task}{n}", task, int(n % 2)) for task in "xyz" for n in range(40)]
    tallies = tallied(*[("bbh", "greedy", name, [(1, right)]) for name, _, right in problems])
    groups = {"bbh": {name: task for name, task, _ in problems}}
    run = config(BBH, evaluation={"num_bootstrap": 2000})
    rows = {r["suite"]: r for r in evaluate_tallies(tallies, run.evaluation, 0, groups)[::2]}
    width = {suite: row["ci_high"] - row["ci_low"] for suite, row in rows.items()}
    # 1.96 standard errors on both sides, of 40 problems and of 120.
    assert width["bbh/x"] == pytest.approx(2 * 1.96 * (0.25 / 40) ** 0.5, rel=0.15)
    assert width["bbh"] == pytest.approx(2 * 1.96 * (0.25 / 120) ** 0.5, rel=0.15)


def test_exemplars_stand_in_a_file_a_task_below_the_mark(tmp_path: Path) -> None:
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


def test_a_prompt_file_is_pinned_by_its_text_and_what_the_run_sets_wins(tmp_path: Path) -> None:
    prompt = 'source: a book\nlicence: MIT\ntemplate: "Q: {question} A:"\nsolution_prefix: "_"\n'
    (tmp_path / "p.yaml").write_text(prompt)
    tree = {
        "problems": {"sources": [SOURCE]},
        "prompt": {"file": "p.yaml", "solution_prefix": "-"},
        "evaluation": {"suites": [{**PLAIN, "prompt": {"file": "p.yaml"}}]},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(tree))
    run = load_config(tmp_path / "run.yaml")
    assert (run.prompt.template, run.prompt.solution_prefix) == ("Q: {question} A:", "-")
    assert suites_of(run)[0].prompt.solution_prefix == "_"
    assert run.prompt.file is None
    (tmp_path / "p.yaml").write_text(prompt + "exemplar: []\n")
    with pytest.raises(ConfigError, match=r"prompt\.exemplar is not a known field"):
        load_config(tmp_path / "run.yaml")


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
def test_suites_are_rendered_with_their_own_prompt_and_draws(
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
    rows = render(run, 0).function(spark.createDataFrame(table)).collect()
    found = {(row.purpose, row.decoding): row for row in rows}
    assert set(found) == {("test", "greedy"), ("bbh", "greedy"), ("direct", "pass_at_k")}
    bbh, direct = found["bbh", "greedy"], found["direct", "pass_at_k"]
    assert bbh.text == "Pick.\n\nQ: What is 2 + 2?\nA:"
    assert bbh.text[bbh.num_shared_chars :] == "What is 2 + 2?\nA:"
    assert (bbh.max_tokens, bbh.stop) == (9, ["\n\n"])
    assert direct.text == "Question: What is 2 + 2?\nAnswer:"
    assert (direct.num_samples, direct.temperature, direct.top_p) == (4, 1.0, 0.95)
    assert bbh.problem_id == direct.problem_id == "problem-2"
    assert direct.seed == prompt_seed(0, 0, "problem-2", "direct/pass_at_k", 4)
    columns = set(PROMPTS.column_names) - {"run_id", "iteration"}
    assert set(rows[0].asDict()) == columns


@pytest.mark.slow
def test_stored_samples_of_a_suite_become_rows_by_task(spark: SparkSession) -> None:
    tasks = ["logic", "logic", "sorting"]
    frames = [
        factories.arrow(SAMPLES, *[{"purpose": "bbh", "decoding": "greedy"}] * 3),
        factories.arrow(REWARDS, {"verdict": "wrong", "reward": 0.0}, {}, {}),
        factories.arrow(PROMPTS),
        factories.arrow(
            PROBLEMS, *[{"split": "bbh", "metadata": json.dumps({"task": t})} for t in tasks]
        ),
    ]
    rows = evaluate(config(BBH), "policy-1").function(*map(spark.createDataFrame, frames))
    found = {(r.suite, r.metric): (r.value, r.n) for r in rows.collect()}
    assert found["bbh/logic", "greedy_accuracy"] == (0.5, 2)
    assert found["bbh/sorting", "greedy_accuracy"] == (1.0, 1)
    assert found["bbh", "greedy_accuracy"] == (0.75, 3)
    assert set(rows.columns) == set(EVALUATIONS.column_names) - {"run_id", "iteration"}


@pytest.mark.slow
def test_duplicates_are_kept_where_they_are_held_out(spark: SparkSession, tmp_path: Path) -> None:
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
    stage = ingest(run, lambda: spark)
    rows = stage.function().collect()
    assert {(row.split, row.question) for row in rows} == {
        ("train", "Two?"),
        ("validation", "four?"),
        ("test", "ONE?"),
        ("exam", "three?"),
        ("exam", "five?"),
        ("exam", "Six?"),
    }
    assert stage.measures == {"duplicates_left_out": 5.0}
    refused = run.model_copy(
        update={"problems": run.problems.model_copy(update={"duplicates": "refuse"})}
    )
    with pytest.raises(
        InputError, match=r"train: row 2: question must be there once.* again in row 3;"
    ):
        ingest(refused, lambda: spark).function()


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
        return {row.question for row in ingest(run, lambda: spark).function().collect()}

    first = chosen(questions, 0)
    assert len(first) == 7
    assert chosen(questions[::-1], 0) == first
    assert chosen(questions, 1) != first


def test_a_programs_time_and_memory_are_not_the_checkers_failures() -> None:
    from pipelines.rewards.resolve import checker_failures

    programs = config(reward={"function": "unit_tests"})
    assert set(checker_failures(programs.reward)) == {"parse_error", "error"}
    assert set(checker_failures(config().reward)) == {"parse_error", "error", "timeout", "memory"}
