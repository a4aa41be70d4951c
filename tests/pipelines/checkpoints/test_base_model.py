from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.checkpoints import embedded_model
from pipelines.checkpoints.base_model import (
    base_model_uri,
    resolve_base_model,
    with_model_content,
)
from pipelines.checkpoints.embedded_model import embedded_checkpoint
from pipelines.config import EMBEDDED_MODEL, ModelConfig, RunConfig
from pipelines.errors import InputError
from pipelines.lake.growth import refused_changes
from tests.pipelines.checkpoints.checkpoints import write_checkpoint
from tests.tiny_model import build_tiny_model

if TYPE_CHECKING:
    from pathlib import Path


def refusal(base_model: str) -> str:
    with pytest.raises(InputError) as caught:
        resolve_base_model(ModelConfig(base_model=base_model))
    return str(caught.value)


def test_another_embedded_model_is_refused() -> None:
    assert EMBEDDED_MODEL in refusal("embedded:other")


def test_a_folder_must_exist_and_have_a_config_and_weights(tmp_path: Path) -> None:
    assert "no folder" in refusal(str(tmp_path / "none"))
    assert "has no config.json" in refusal(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    message = refusal(str(tmp_path))
    assert message.startswith("model.base_model: ")
    assert "has no weights" in message


def test_a_name_that_is_no_hub_id_is_refused_in_one_line() -> None:
    message = refusal("not a hub id")
    assert message.startswith("model.base_model: cannot get 'not a hub id'")
    assert "\n" not in message


@pytest.mark.parametrize("trusted", [True, False])
def test_code_is_downloaded_from_the_hub_only_if_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    import huggingface_hub

    asked: list[str] = []

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.extend(allow_patterns)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (tmp_path / name).touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    resolve_base_model(ModelConfig(base_model="someone/own-model", trust_remote_code=trusted))
    assert ("*.py" in asked) is trusted


def run(**model: Any) -> RunConfig:
    source = {"kind": "generator", "location": "m:f"}
    return RunConfig.model_validate(
        {"name": "r", "problems": {"sources": [source]}, "model": model}
    )


def test_a_run_is_pinned_to_its_base_models_weights_and_not_to_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTEM_CACHE", str(tmp_path / "cache"))
    write_checkpoint(tmp_path / "a")
    write_checkpoint(tmp_path / "b")
    write_checkpoint(tmp_path / "other", "WEIGHTS")
    pinned, moved, other = (
        with_model_content(run(base_model=str(tmp_path / name)), None)
        for name in ("a", "b", "other")
    )
    assert pinned.config_hash() == moved.config_hash() != other.config_hash()
    assert refused_changes(pinned, moved, lambda _: 0) == []
    (change,) = refused_changes(pinned, other, lambda _: 0)
    assert change.startswith('model.content: "weights:')
    # A machine without the folder, where no pending stage may need it.
    absent = run(base_model=str(tmp_path / "a"))
    shutil.rmtree(tmp_path / "a")
    assert with_model_content(absent, pinned) == pinned


def test_a_run_that_was_pinned_to_a_folders_path_stays_so(tmp_path: Path) -> None:
    before = run(base_model=str(write_checkpoint(tmp_path / "a")))
    assert with_model_content(before, before) == before
    assert "base_model" in before.pinned()["model"]


def test_a_branch_that_moves_on_the_hub_does_not_change_the_base_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    head = "first"
    asked: list[str | None] = []

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append(revision)
        folder = tmp_path / (revision or head)
        if not folder.exists():
            write_checkpoint(folder)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    started = with_model_content(run(base_model="someone/model"), None, ask_hub=True)
    assert started.model.content == "commit:first"
    assert base_model_uri(started.model, resolve_base_model(started.model)) == (
        "hub:someone/model@first"
    )
    head = "second"
    later = with_model_content(run(base_model="someone/model"), started, ask_hub=True)
    assert resolve_base_model(later.model) == tmp_path / "first"
    assert later.config_hash() == started.config_hash()
    assert asked == [None, "first", "first"]


def test_without_the_hub_its_commit_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def snapshot_download(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    config = run(base_model="someone/model")
    assert with_model_content(config, None, ask_hub=True) == config


@pytest.mark.slow
def test_a_checkpoint_folder_is_used_as_it_is(tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "model")
    assert resolve_base_model(ModelConfig(base_model=str(folder))) == folder


@pytest.mark.slow
def test_the_embedded_model_is_made_an_ordinary_checkpoint_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESTEM_CACHE", str(tmp_path))
    folder = embedded_checkpoint()
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"]) == ("llama", 576)
    assert "quantization_config" not in config
    weights = next(folder.glob("*.safetensors"))
    written = weights.stat().st_mtime_ns
    assert resolve_base_model(ModelConfig()) == folder
    assert weights.stat().st_mtime_ns == written
    assert capfd.readouterr() == ("", "")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    answer = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0])


def test_a_missing_package_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTEM_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded_model, "_PACKAGE", "no_such_package_here")
    with pytest.raises(InputError, match="run 'make setup'"):
        embedded_checkpoint()
