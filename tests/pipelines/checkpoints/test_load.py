"""Where each kind of policy is found, and that other weights are never taken for it."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints.load import PolicyLoader
from pipelines.checkpoints.policy import PolicyRef, policy_id_of
from pipelines.checkpoints.store import PolicyStore
from pipelines.config import EMBEDDED_MODEL, ModelConfig
from pipelines.errors import InputError, PolicyLost
from pipelines.lake.location import Location
from pipelines.runtime.progress import SilentProgress
from tests.pipelines.checkpoints.checkpoints import write_checkpoint

QUIET = SilentProgress()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTEM_CACHE", str(tmp_path / "cache"))


def loader(folder: Path, **model: Any) -> PolicyLoader:
    return PolicyLoader(PolicyStore(Location.at(str(folder), {})), ModelConfig(**model))


def test_a_lake_that_was_moved_has_its_policies(tmp_path: Path) -> None:
    policy = loader(tmp_path / "lake").store.put(write_checkpoint(tmp_path / "epoch-1"), QUIET)
    (tmp_path / "lake").rename(tmp_path / "moved")
    assert loader(tmp_path / "moved").folder_of(policy).parent == tmp_path / "moved" / "_policies"
    with pytest.raises(PolicyLost):
        loader(tmp_path / "lake").recover(policy, QUIET)


def test_a_base_model_in_a_folder_is_found_where_it_is_now(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    policy = PolicyRef(policy_id_of(folder), str(folder))
    there = loader(tmp_path / "lake", base_model=str(folder))
    assert pickle.loads(pickle.dumps(there)).folder_of(policy) == folder
    folder.rename(tmp_path / "moved")
    here = loader(tmp_path / "lake", base_model=str(tmp_path / "moved"))
    assert here.folder_of(policy) == tmp_path / "moved"
    with pytest.raises(PolicyLost, match=r"no checkpoint with its weights at .*model\.base_model"):
        there.folder_of(policy)


def test_a_base_model_with_other_weights_is_not_loaded(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    policy = PolicyRef(policy_id_of(folder), str(folder))
    shutil.rmtree(folder)
    write_checkpoint(folder, "WEIGHTS")
    with pytest.raises(PolicyLost, match=f"policy {policy.policy_id}"):
        loader(tmp_path / "lake", base_model=str(folder)).folder_of(policy)


def test_the_embedded_model_is_known_by_its_name_and_its_weights(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "cache" / "models" / "smollm2-135m-instruct")
    policy = PolicyRef(policy_id_of(folder), EMBEDDED_MODEL)
    there = loader(tmp_path / "lake")
    assert there.folder_of(policy) == folder
    (folder / "model-00001-of-00002.safetensors").write_text("WEIGHTS")
    with pytest.raises(InputError, match="policy 0 of this run is") as caught:
        there.folder_of(policy)
    assert "\n" not in str(caught.value)


def test_a_model_of_the_hub_is_fetched_at_the_commit_that_the_run_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[str | None] = []
    folder = write_checkpoint(tmp_path / "snapshots" / "abc123")

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert name == "someone/model"
        assert "*.py" in allow_patterns
        asked.append(revision)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    policy = PolicyRef(policy_id_of(folder), "hub:someone/model@abc123")
    there = loader(tmp_path / "lake", base_model="someone/model", trust_remote_code=True)
    assert there.folder_of(policy) == folder
    assert asked == ["abc123"]
