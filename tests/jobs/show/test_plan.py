"""`restem plan` refuses what `restem run` would refuse, and starts nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from jobs.cli import app
from jobs.machine import accelerators
from jobs.machine.preflight import check_plan
from pipelines.config import RunConfig
from tests.lake_fixture import config as stored_config
from tests.lake_fixture import write_lake
from tests.pipelines.placement.machines import EIGHT_GPUS, ON_A_PROCESSOR, ONE_GPU
from tests.pipelines.placement.test_model_memory import QWEN_7B, QWEN_HALF_B
from tests.tiny_model import tiny_tokenizer

REWARDS = """
def scaled(solution, reference, scale):
    return scale * (solution == reference)

def broken(solution, reference):
    return {}[reference]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model (its weights are not read), problems, rewards; a machine without a GPU."""
    monkeypatch.setattr(accelerators, "this_machine", lambda cpus: ON_A_PROCESSOR)
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    tiny_tokenizer().save_pretrained(model)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").touch()
    (tmp_path / "rewards_of_plan.py").write_text(REWARDS)
    write_problems(tmp_path, *(f"What is {n} + 1?" for n in range(20)))
    return tmp_path


def write_problems(folder: Path, *questions: str) -> None:
    rows = [{"question": text, "answer": "3"} for text in questions]
    (folder / "problems.jsonl").write_text("\n".join(map(json.dumps, rows)))


def plan(folder: Path, *settings: str, name: str = "p", **sections: Any) -> Result:
    tree = {
        "name": name,
        "model": {"base_model": "./model", "max_model_len": 128},
        "problems": {
            "sources": [{"kind": "jsonl", "location": "problems.jsonl"}],
            "num_test": 4,
        },
        "sampling": {"num_samples_per_problem": 4, "max_tokens": 8},
        "lake": {"uri": str(folder / "lake")},
        **sections,
    }
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(tree))
    arguments = [item for setting in settings for item in ("--set", setting)]
    return CliRunner().invoke(app, ["plan", str(path), *arguments], env={"COLUMNS": "120"})


def test_a_plan_says_what_was_checked_and_leaves_nothing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    result = plan(folder)
    assert result.exit_code == 0, result.output
    assert "20 problems, rewards on 3 references" in result.stdout
    assert "tokens" in result.stdout
    assert "Nothing was run." in result.stdout
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in str(path)] == sorted(
        {*before, folder / "plan.yaml"}
    )


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("reward.function=math_anwser", ["reward.function", "'math_anwser'", "math_answer"]),
        ("evaluation.k=[0]", ["evaluation.k.0", "got 0"]),
        ("sampling.max_tokens=100000", ["sampling.max_tokens", "100,000", "model.max_model_len"]),
        (
            "sampling.max_tokens=120",
            ["sampling.max_tokens (120)", "20 of 20", "model.max_model_len"],
        ),
        ("model.max_model_len=16", ["16 tokens or more", "no room", "row", "problems.jsonl"]),
        ("prompt.template=Q", ["prompt.template", "{question}"]),
        ("problems.num_test=20", ["num_test", "20 problems"]),
        ("reward.function=python:rewards_of_plan:scaled", ["reward.options", "'scale'"]),
        (
            "reward.function=python:rewards_of_plan:broken",
            ["row 1 of ", "problems.jsonl: raised KeyError: '3'", "rewards_of_plan.py, line 6"],
        ),
        ("problems.sources=[{kind: jsonl, location: none.jsonl}]", ["none.jsonl", "No such file"]),
        ("model.base_model=./none", ["model.base_model", "none"]),
    ],
)
def test_a_plan_refuses_what_a_run_would_refuse(
    folder: Path, setting: str, words: list[str]
) -> None:
    result = plan(folder, setting)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr


def test_a_pinned_name_with_other_settings_is_refused(folder: Path) -> None:
    write_lake(folder / "lake")
    result = plan(folder, name="first")
    assert result.exit_code == 2
    assert "run 'first' exists with another configuration" in result.stderr


def test_a_question_that_is_there_twice_is_refused(folder: Path) -> None:
    write_problems(folder, *(f"What is {n} + 1?" for n in range(9)), "what is  3 + 1?")
    result = plan(folder)
    assert result.exit_code == 2
    assert "row 4: question must be there once" in result.stderr


def test_a_model_without_a_tokenizer_is_refused(folder: Path) -> None:
    for file in (folder / "model").glob("tokenizer*"):
        file.unlink()
    result = plan(folder)
    assert result.exit_code == 2
    assert "has no tokenizer" in result.stderr


def test_one_question_that_is_too_long_among_many_is_named(folder: Path) -> None:
    write_problems(folder, "x" * 1_000_000, *(f"What is {n} + 1?" for n in range(199)))
    result = plan(folder)
    assert result.exit_code == 0, result.output
    assert "1 of 200 of the run's prompts have 128 tokens or more" in result.stdout
    assert f"row 1 of {folder}/problems.jsonl with 1,0" in result.stdout
    write_problems(folder, "x" * 1_000_000, *(f"What is {n} + 1?" for n in range(39)))
    assert plan(folder).exit_code == 2


def test_what_is_not_on_this_machine_is_not_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RESTEM_NOWHERE", raising=False)
    away = "problems.sources=[{kind: jsonl, location: '${RESTEM_NOWHERE}/a.jsonl'}]"
    result = plan(folder, away, "model.base_model=nobody/nothing")
    assert result.exit_code == 0, result.output
    assert "not checked: the problems of ${RESTEM_NOWHERE}/a.jsonl" in result.stdout
    assert "not checked: nobody/nothing" in result.stdout


def test_a_plan_names_the_machine_and_what_is_placed_on_it(folder: Path) -> None:
    result = plan(folder)
    assert "this machine: 2 cores, no GPU" in result.stdout
    assert "generate: 1 engine on 2 cores" in result.stdout
    assert "improve: 1 worker on 2 cores, started by torchrun" in result.stdout


def test_a_plan_fits_the_model_to_the_gpus(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "this_machine", lambda cpus: EIGHT_GPUS)
    (folder / "model" / "config.json").write_text(json.dumps(QWEN_HALF_B))
    result = plan(folder, engine={"replicas": 8}, training={"num_workers": 8})
    assert result.exit_code == 0, result.output
    assert "generate: 8 engines on 1 GPU each" in result.stdout
    assert "an engine: 0.9 GiB of weights in bfloat16" in result.stdout
    # A prompt has at most 32 tokens, a solution sampling.max_tokens = 8.
    assert "for 2 rows of 40 tokens per pass" in result.stdout
    result = plan(folder, engine={"replicas": 9})
    assert result.exit_code == 2
    assert "engine.replicas must be <= 8" in result.stderr


def test_a_plan_refuses_a_model_that_cannot_be_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "this_machine", lambda cpus: ONE_GPU)
    (folder / "model" / "config.json").write_text(json.dumps(QWEN_7B))
    result = plan(folder)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "training 7.62 billion parameters takes 128.7 GiB on every worker" in result.stderr


@pytest.mark.parametrize(("run", "iterations"), [("first", 2), ("second", 2)])
def test_only_the_stages_to_come_are_placed(folder: Path, run: str, iterations: int) -> None:
    write_lake(folder / "lake")  # the first run is complete, the second lacks its last evaluation
    tree = stored_config(run).model_dump()
    stored = RunConfig.model_validate({**tree, "lake": {"uri": str(folder / "lake")}})
    assert check_plan(stored, print).machines == []
    grown = stored.model_copy(update={"num_iterations": iterations + 1})
    assert len(check_plan(grown, print).machines) >= 3
