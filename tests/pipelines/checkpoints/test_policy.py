from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.checkpoints import policy
from pipelines.checkpoints.policy import policy_id_of
from pipelines.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTEM_CACHE", str(tmp_path / "cache"))


def test_a_policy_id_follows_the_weights_and_nothing_else(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    first = policy_id_of(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert policy_id_of(tmp_path) == first
    weights.write_bytes(b"other weights")
    assert policy_id_of(tmp_path) != first


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \*\.safetensors weights"):
        policy_id_of(tmp_path)


def test_weights_that_did_not_change_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    first = policy_id_of(tmp_path)
    monkeypatch.setattr(policy, "sha256_of", lambda _: pytest.fail("read again"))
    assert policy_id_of(tmp_path) == first


def test_weights_that_changed_under_the_same_size_and_time_are_read_again(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    first, then = policy_id_of(tmp_path), weights.stat()
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert policy_id_of(tmp_path) != first
