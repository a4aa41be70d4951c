from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.config import EMBEDDED_MODEL, ModelConfig
from pipelines.errors import InputError
from pipelines.tuning import base_model
from pipelines.tuning.base_model import embedded_checkpoint, resolve_base_model
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
    monkeypatch.setattr(base_model, "_PACKAGE", "no_such_package_here")
    with pytest.raises(InputError, match="run 'make setup'"):
        embedded_checkpoint()
