"""What a user takes away: the policy with its card, its training set, the samples with verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from jobs.cli import app
from pipelines.checkpoints.policy import policy_id_of
from tests.lake_fixture import Rows, write_lake
from tests.tiny_model import build_tiny_model


def name_checkpoint(rows: Rows, checkpoint: Path) -> None:
    """Make it the checkpoint of all policies."""
    policy_id = policy_id_of(checkpoint) if checkpoint.exists() else "lost"
    for policy in rows["policies"]:
        policy["checkpoint_uri"], policy["policy_id"] = str(checkpoint), policy_id


def write_lake_with(checkpoint: Path, folder: Path) -> Path:
    """A lake whose policies have this checkpoint; the second's D_val accuracy is the best."""

    def change(rows: Rows) -> None:
        run = rows["runs"][0]["run_id"]
        name_checkpoint(rows, checkpoint)
        rows["runs"][0]["mlflow_run_id"] = None if run == "second" else "not-there"
        if run == "second":
            return
        rows["evaluations"] += [
            {"run_id": run, "iteration": i, "suite": "validation", "metric": "greedy_accuracy"}
            | {"value": value, "ci_low": 0.0, "ci_high": 1.0, "n": 40}
            for i, value in enumerate((0.1, 0.3, 0.3))
        ]

    return write_lake(folder, change)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake whose checkpoint is files that are copied and not read; some are links, as in a cache."""
    folder = tmp_path_factory.mktemp("lake")
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    (folder / "blob").write_bytes(b"weights")
    (checkpoint / "model.safetensors").symlink_to(folder / "blob")
    (checkpoint / "config.json").write_text("{}", encoding="utf-8")
    (checkpoint / "README.md").write_text("the base model's card", encoding="utf-8")
    return write_lake_with(checkpoint, folder / "lake")


def export(lake: Path, output: Path, *arguments: object, run: str = "first") -> Result:
    words = ["export", run, "--output", str(output), "--lake", str(lake), *map(str, arguments)]
    return CliRunner().invoke(app, words)


def card(folder: Path) -> tuple[dict[str, Any], str]:
    """A card's metadata and its text."""
    _, metadata, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(metadata), text


def test_the_last_policy_is_taken_with_its_card_and_training_set(
    lake: Path, tmp_path: Path
) -> None:
    result = export(lake, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert ", iteration 2 (the last)" in result.output
    policy = tmp_path / "out" / "policy"
    assert {path.name for path in policy.iterdir()} == {
        *("model.safetensors", "config.json", "README.md", "restem.json"),
    }
    assert (policy / "model.safetensors").read_bytes() == b"weights"
    assert not (policy / "model.safetensors").is_symlink()
    rows = pq.read_table(tmp_path / "out" / "data" / "training_set" / "train.parquet").to_pylist()
    assert [row["sample_id"] for row in rows] == [f"first-1-sample-{n}-0" for n in (1, 2, 3, 4)]
    assert all(row["prompt"].endswith("Answer:") and row["verdict"] == "correct" for row in rows)
    assert not (tmp_path / "out" / "data" / "samples").exists()


def test_the_model_card_says_how_it_was_made_and_how_well_it_does(
    lake: Path, tmp_path: Path
) -> None:
    assert export(lake, tmp_path / "out").exit_code == 0
    metadata, text = card(tmp_path / "out" / "policy")
    assert metadata["library_name"] == "transformers"
    (index,) = metadata["model-index"]
    found = {r["dataset"]["type"]: r["metrics"][0]["value"] for r in index["results"]}
    assert found == {"test": 0.75, "train": 0.75, "validation": 0.3}
    for part in (
        "embedded:smollm2-135m-instruct",
        "Fine-tuned from policy base on 4 solutions (training_set version 0)",
        "| test greedy | 25.0 [15.0, 35.0] | 50.0 [40.0, 60.0] | 75.0 [65.0, 85.0] |",
        "| problems | jsonl | problems.jsonl |",
        "| training_set, iteration 2 | 0 | 8 |",
        "| sampling.temperature | 0.7 |",
        "Question: What is",
    ):
        assert part in text, part
    policy = tmp_path / "out" / "policy"
    told = json.loads((policy / "restem.json").read_text(encoding="utf-8"))
    assert (told["policy_id"], told["iteration"]) == (policy_id_of(policy), 2)
    assert told["settings"]["curate"]["cutoff"] == 10


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_all_samples_are_taken_with_verdicts_and_selections(
    lake: Path, tmp_path: Path, form: str
) -> None:
    assert export(lake, tmp_path / "out", "--samples", "--format", form).exit_code == 0
    data = tmp_path / "out" / "data"
    files = sorted((data / "samples").iterdir())
    assert [file.name for file in files] == [f"iteration-{n}.{form}" for n in range(3)]
    rows = [
        row
        for file in files
        for row in (
            pq.read_table(file).to_pylist()
            if form == "parquet"
            else map(json.loads, file.read_text(encoding="utf-8").splitlines())
        )
    ]
    assert len(rows) == 60
    by_id = {row["sample_id"]: row for row in rows}
    assert by_id["first-0-sample-1-0"]["kept"] is True
    assert by_id["first-1-sample-1-1"]["selection_reason"] == "duplicate_solution"
    assert by_id["first-2-sample-5-0"]["kept"] is None
    metadata, text = card(data)
    assert [part["config_name"] for part in metadata["configs"]] == ["training_set", "samples"]
    assert "`samples`: 60 rows" in text


def test_the_best_policy_on_d_val_is_the_earlier_of_two_that_are_equal(
    lake: Path, tmp_path: Path
) -> None:
    result = export(lake, tmp_path / "out", "--best")
    assert ", iteration 1 (the best on D_val: 30.0 % of 40" in result.output


def test_the_base_model_has_no_training_set(lake: Path, tmp_path: Path) -> None:
    assert export(lake, tmp_path / "out", "--iteration", 0).exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"policy"}
    assert "The base model itself." in card(tmp_path / "out" / "policy")[1]


@pytest.mark.parametrize(
    ("run", "arguments", "said"),
    [
        (
            "first",
            ["--iteration", "7"],
            "--iteration must be one of a policy of run 'first', 0 to 2",
        ),
        ("first", ["--iteration", "1", "--best"], "name --iteration or --best, not both"),
        ("second", ["--best"], "was evaluated on D_val"),
        ("second", ["--register", "mine"], "is not in MLflow"),
        ("first", ["--register", "a'b"], "--register must be letters"),
        ("third", [], "no run 'third'"),
    ],
)
def test_what_cannot_be_taken_is_one_line_and_nothing_is_written(
    lake: Path, tmp_path: Path, run: str, arguments: list[str], said: str
) -> None:
    result = export(lake, tmp_path / "out", *arguments, run=run)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_exists_and_a_checkpoint_that_does_not_are_refused(
    lake: Path, tmp_path: Path
) -> None:
    assert "must be a new folder" in export(lake, tmp_path).stderr
    gone = write_lake_with(tmp_path / "nowhere", tmp_path / "other")
    refused = export(gone, tmp_path / "out")
    assert "policy lost: no checkpoint" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_was_taken_loads_with_transformers_and_datasets_and_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import torch
    from datasets import load_dataset
    from mlflow import MlflowClient
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.chdir(tmp_path)  # the configuration's tracking URI is relative
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    uri = "sqlite:///restem-data/mlflow.db"
    (tmp_path / "restem-data").mkdir()
    client = MlflowClient(uri)
    place = (tmp_path / "artifacts").as_uri()
    logged = client.create_run(client.create_experiment("e", artifact_location=place))
    checkpoint = build_tiny_model(tmp_path / "model")

    def change(rows: Rows) -> None:
        rows["runs"][0]["mlflow_run_id"] = logged.info.run_id
        name_checkpoint(rows, checkpoint)

    lake = write_lake(tmp_path / "lake", change)
    result = export(lake, tmp_path / "out", "--samples", "--register", "sums")
    assert result.exit_code == 0, result.output
    assert "models:/sums/1" in result.output

    policy, data = tmp_path / "out" / "policy", str(tmp_path / "out" / "data")
    before = AutoModelForCausalLM.from_pretrained(checkpoint).state_dict()
    after = AutoModelForCausalLM.from_pretrained(policy).state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert AutoTokenizer.from_pretrained(policy)("1 + 1").input_ids
    training = load_dataset(data, "training_set", split="train")
    assert training.num_rows == 4
    assert load_dataset(data, "samples", split="drawn").num_rows == 60

    version = client.get_model_version("sums", "1")
    assert version.run_id == logged.info.run_id
    assert version.tags["restem.policy_id"] == policy_id_of(policy)
    assert "# first, iteration 2" in version.description
    mlflow.set_tracking_uri(uri)
    there = Path(mlflow.artifacts.download_artifacts("models:/sums/1"))
    assert {"model.safetensors", "config.json", "README.md"} <= {p.name for p in there.iterdir()}
