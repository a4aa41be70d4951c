"""A plan follows from the configuration alone."""

from __future__ import annotations

from typing import Any

from pipelines.config import RunConfig
from pipelines.config.sizes import problem_sizes
from pipelines.runs.plan import PlannedStage, plan

SOURCE = {"kind": "generator", "location": "module:function", "options": {"size": 400}}


def config(**settings: Any) -> RunConfig:
    problems = {"sources": [SOURCE], "num_validation": 50, "num_test": 150}
    sampling = {"num_samples_per_problem": 12, "max_tokens": 48}
    return RunConfig.model_validate(
        {"name": "run", "problems": problems, "sampling": sampling, **settings}
    )


def stage_of(settings: RunConfig, iteration: int, name: str) -> PlannedStage:
    return next(s for s in plan(settings) if (s.iteration, s.stage) == (iteration, name))


def total(settings: RunConfig, iteration: int, name: str) -> int | None:
    rows = stage_of(settings, iteration, name).rows
    assert rows is not None
    return rows.total(problem_sizes(settings))


def test_the_loop_samples_before_it_improves_and_ends_with_an_evaluation() -> None:
    stages = [(stage.iteration, stage.stage) for stage in plan(config())]
    assert stages[:2] == [(0, "ingest"), (0, "base_policy")]
    assert stages.index((1, "improve")) < stages.index((1, "generate"))
    assert stages[-1] == (2, "evaluate")
    assert len(stages) == len(set(stages)) == 20


def test_rows_follow_from_problems_and_samples() -> None:
    settings = config(evaluation={"pass_at_k": {"num_samples": 8, "temperature": 1.0}})
    assert total(settings, 0, "ingest") == 400
    assert total(settings, 0, "render") == 200 + 50 + 2 * 150
    assert total(settings, 0, "generate") == 12 * 200 + 50 + 9 * 150
    assert total(settings, 1, "select") == 12 * 200
    assert total(settings, 1, "curate") == 10 * 200


def test_the_last_policy_draws_training_solutions_only_if_asked() -> None:
    assert total(config(), 2, "generate") == 50 + 150
    asked = config(evaluation={"final_train_samples": 4})
    assert total(asked, 2, "generate") == 4 * 200 + 50 + 150


def test_tokens_are_bounded_by_the_longest_solution() -> None:
    tokens = stage_of(config(), 0, "generate").tokens
    assert tokens is not None
    assert tokens.total(problem_sizes(config())) == 48 * (12 * 200 + 50 + 150)


def test_each_policy_starts_each_replica_once() -> None:
    starts = [stage.engine_starts for stage in plan(config(engine={"replicas": 3}))]
    assert sum(starts) == 3 * 3


def test_generate_commits_a_chunk_of_prompts_at_a_time() -> None:
    assert stage_of(config(engine={"chunk_prompts": 200}), 0, "generate").commits == 4


def test_sizes_that_are_not_known_are_formulas() -> None:
    source = {"kind": "jsonl", "location": "problems.jsonl"}
    problems = {"sources": [source], "num_test": 150}
    settings = config(problems=problems)
    rows = stage_of(settings, 0, "generate").rows
    assert rows is not None
    assert problem_sizes(settings) == {"train": None, "validation": 0, "test": 150}
    assert rows.total(problem_sizes(settings)) is None
    assert rows.formula(problem_sizes(settings)) == "12 x train + 150"


def test_a_transfer_suite_is_asked_greedily() -> None:
    suite = {**SOURCE, "split": "transfer", "options": {"size": 30}}
    settings = config(problems={"sources": [SOURCE, suite], "num_test": 150})
    assert problem_sizes(settings)["transfer"] == 30
    assert total(settings, 0, "generate") == 12 * 250 + 150 + 30


def test_at_most_max_train_problems_are_counted() -> None:
    problems = {"sources": [SOURCE], "num_test": 150, "max_train": 64}
    assert problem_sizes(config(problems=problems))["train"] == 64


def test_a_run_looks_for_contamination_only_if_it_is_told_to() -> None:
    assert "contamination" not in {stage.stage for stage in plan(config())}
    problems = {"sources": [SOURCE], "num_test": 150, "contamination": {"words": 10}}
    names = [stage.stage for stage in plan(config(problems=problems))]
    assert names[:3] == ["ingest", "contamination", "base_policy"]
    assert stage_of(config(problems=problems), 0, "contamination").table == "contamination"
