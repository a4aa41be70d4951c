"""What lists stages follows from the loop: a stage added there appears everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from pipelines.config import RunConfig
from pipelines.rest_em import Made, Tables, rest_em
from pipelines.runs.plan import plan
from pipelines.runs.stages_by_name import named_steps
from pipelines.runs.steps import Step, all_stage_names, steps_of, timed_stages
from pipelines.stage import ArrowStage, Engine
from pipelines.stages.binding import Stages
from schemas import CONTAMINATION, EVALUATIONS, POLICIES
from tests.lake_fixture import write_lake


def config(**settings: Any) -> RunConfig:
    source = {"kind": "jsonl", "location": "x.jsonl"}
    return RunConfig.model_validate({"name": "r", "problems": {"sources": [source]}, **settings})


def audit(*_: object) -> pa.Table:
    raise AssertionError("no stage is run by listing it")


def longer_loop(tables: Tables[Made], stages: Stages, num_iterations: int) -> Made:
    """The loop with one more stage at its end."""
    policy = rest_em(tables, stages, num_iterations)
    stage = ArrowStage(name="audit", table=CONTAMINATION, reads=(POLICIES,), function=audit)
    tables.materialize(stage, num_iterations, policy)
    return policy


@pytest.fixture
def with_an_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.runs.steps.rest_em", longer_loop)


def keys(steps: list[Step]) -> list[tuple[int, str]]:
    return [step.key for step in steps]


def test_the_steps_are_those_of_algorithm_1_in_its_order() -> None:
    e_step = ["render", "generate", "score", "evaluate"]
    m_step = ["select", "curate", "improve"]
    assert keys(steps_of(config(num_iterations=1))) == [
        (0, "ingest"),
        (0, "base_policy"),
        *[(0, name) for name in e_step],
        *[(1, name) for name in m_step],
        *[(1, name) for name in e_step],
    ]


def test_every_step_reads_the_tables_that_its_stage_declares() -> None:
    settings = config(problems={"sources": [{"kind": "math"}], "contamination": {}})
    for step in steps_of(settings):
        assert step.stage.reads == tuple(source.stage.table for source in step.inputs)
        assert all(source.position < step.position for source in step.inputs)


@pytest.mark.parametrize(("start_from", "iteration"), [("base", 0), ("previous", 1)])
def test_the_m_step_starts_from_the_policy_that_is_set(start_from: str, iteration: int) -> None:
    steps = steps_of(config(improve={"start_from": start_from}))
    improved = next(step for step in steps if step.key == (2, "improve"))
    assert improved.inputs[-1].stage.table is POLICIES
    assert improved.inputs[-1].iteration == iteration


def test_ancestors_are_all_that_a_step_needs_and_nothing_else() -> None:
    steps = {step.key: step for step in steps_of(config(num_iterations=30))}
    selected = [(0, "ingest"), (0, "base_policy"), (0, "render"), (0, "generate"), (0, "score")]
    assert keys(steps[1, "select"].ancestors()) == selected
    last = keys(steps[30, "improve"].ancestors())
    assert (29, "score") in last
    assert not [key for key in last if key[1] == "evaluate"]


def test_stages_without_work_of_an_engine_are_not_timed() -> None:
    assert "base_policy" not in timed_stages(config())
    assert timed_stages(config())[0] == "ingest"


@pytest.mark.usefixtures("with_an_audit")
def test_a_stage_added_to_the_loop_is_planned_named_and_helped() -> None:
    assert all_stage_names()[-1] == "audit"
    assert plan(config())[-1].stage == "audit"
    assert keys(named_steps("audit", 2, config())) == [(2, "audit")]
    printed = CliRunner().invoke(app, ["stage", "--help"]).output
    assert "audit" in printed


def test_a_stage_added_to_the_loop_is_to_do_in_runs_that_lack_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = write_lake(tmp_path)
    monkeypatch.setattr("pipelines.runs.steps.rest_em", longer_loop)
    one = CliRunner().invoke(app, ["status", "first", "--lake", str(lake)]).output
    assert "next: audit, iteration 2" in one
    runs = CliRunner().invoke(app, ["status", "--lake", str(lake)]).output
    assert "20/21" in runs


def test_a_stage_says_which_engine_computes_it_and_what_it_makes() -> None:
    made = {step.stage.name: (step.stage.engine, step.stage.table) for step in steps_of(config())}
    assert made["evaluate"] == (Engine.SPARK, EVALUATIONS)
    assert made["improve"] == (Engine.TORCH, POLICIES)
    assert made["generate"][0] is Engine.RAY
    assert made["base_policy"][0] is Engine.DRIVER
