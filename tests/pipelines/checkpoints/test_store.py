"""Policies beside a lake's tables: in a folder, and on a real S3 server."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints.policy import policy_id_of
from pipelines.checkpoints.store import FILES, MAX_CACHED, PolicyStore
from pipelines.errors import LakeError, PolicyLost
from pipelines.lake.location import Location
from pipelines.runtime.progress import LineProgress, SilentProgress
from tests.pipelines.checkpoints.checkpoints import write_checkpoint
from tests.pipelines.lake.object_store import s3_lake

QUIET = SilentProgress()


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, Any]]:
    with s3_lake() as section:
        yield section


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTEM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def on_s3(s3: dict[str, Any]) -> PolicyStore:
    """A store of its own on the server."""
    return PolicyStore(Location.at(f"{s3['uri']}/{uuid.uuid4().hex}", s3["storage_options"]))


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PolicyStore:
    if request.param == "folder":
        return PolicyStore(Location.at(str(tmp_path / "lake"), {}))
    return request.getfixturevalue("on_s3")


def on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTEM_CACHE", str(tmp_path / "cache of another machine"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != FILES
    }


def test_a_policy_is_the_same_on_every_machine(
    store: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_checkpoint(tmp_path / "epoch-1")
    before, policy_id = contents(checkpoint), policy_id_of(checkpoint)
    stored = store.put(checkpoint, QUIET)
    assert stored.policy_id == policy_id
    assert stored.checkpoint_uri == f"{store.location.uri}/_policies/{policy_id}"
    assert contents(store.fetch(policy_id)) == before
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    on_another_machine(tmp_path, monkeypatch)
    elsewhere = pickle.loads(pickle.dumps(store))
    folder = elsewhere.fetch(policy_id)
    assert contents(folder) == before
    is_local = store.location.is_local
    assert folder.is_relative_to(tmp_path / ("lake" if is_local else "cache of another machine"))


def test_the_checkpoint_becomes_a_link_to_what_is_loaded(
    store: PolicyStore, tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(tmp_path / "epoch-1")
    stored = store.put(checkpoint, QUIET)
    assert checkpoint.is_symlink()
    assert checkpoint.resolve() == store.fetch(stored.policy_id).resolve()
    # A start that was killed before its commit stores it again.
    assert store.put(checkpoint, QUIET) == stored
    assert store.put(write_checkpoint(tmp_path / "epoch-2"), QUIET) == stored
    assert (tmp_path / "epoch-2").resolve() == checkpoint.resolve()


def test_a_policy_that_is_missing_is_lost(store: PolicyStore, tmp_path: Path) -> None:
    policy_id = store.put(write_checkpoint(tmp_path / "epoch-1"), QUIET).policy_id
    assert store.holds(policy_id)
    store.discard(policy_id)
    assert not store.holds(policy_id)
    assert not store.restore(policy_id, QUIET)
    with pytest.raises(PolicyLost, match=f"policy {policy_id}: .*is missing.*; start the same"):
        store.fetch(policy_id)
    assert policy_id_of(write_checkpoint(tmp_path / "again")) == policy_id
    assert store.put(tmp_path / "again", QUIET).policy_id == policy_id
    assert store.holds(policy_id)


def test_a_policy_without_one_of_its_files_is_lost(
    store: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_id = store.put(write_checkpoint(tmp_path / "epoch-1"), QUIET).policy_id
    store.location.delete(f"_policies/{policy_id}/tokenizer.json")
    assert not store.holds(policy_id)
    on_another_machine(tmp_path, monkeypatch)
    with pytest.raises(PolicyLost, match="missing"):
        store.fetch(policy_id)


@pytest.mark.parametrize("name", ["model-00002-of-00002.safetensors", FILES])
def test_weights_of_another_policy_are_never_loaded(
    store: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    policy_id = store.put(write_checkpoint(tmp_path / "epoch-1"), QUIET).policy_id
    other = write_checkpoint(tmp_path / "epoch-2", "WEIGHTS")
    store.put(other, QUIET)
    store.location.write(f"_policies/{policy_id}/{name}", (other / name).read_bytes())
    on_another_machine(tmp_path, monkeypatch)
    if name != FILES:
        assert store.holds(policy_id)  # its files have their sizes, which is all that is looked at
    elif store.location.is_local:
        (tmp_path / "lake" / "_policies" / policy_id / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(PolicyLost, match=f"policy {policy_id}: ") as caught:
        store.fetch(policy_id)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache of another machine" / "policies").glob("????????????????"))


def test_a_damaged_copy_in_the_lake_is_replaced_by_a_good_one(
    store: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_checkpoint(tmp_path / "epoch-1")
    before = contents(first)
    policy_id = store.put(first, QUIET).policy_id
    store.discard(policy_id)
    store.location.write(f"_policies/{policy_id}/config.json", b"a leftover")
    store.put(write_checkpoint(tmp_path / "epoch-2"), QUIET)
    on_another_machine(tmp_path, monkeypatch)
    assert contents(store.fetch(policy_id)) == before


def test_the_cache_holds_the_policies_used_last(on_s3: PolicyStore, tmp_path: Path) -> None:
    ids = [
        on_s3.put(write_checkpoint(tmp_path / str(i), f"weights {i}"), QUIET).policy_id
        for i in range(MAX_CACHED)
    ]
    cached = tmp_path / "cache" / "policies"
    assert sorted(path.name for path in cached.iterdir() if path.is_dir()) == sorted(ids)
    on_s3.fetch(ids[0])
    ids.append(on_s3.put(write_checkpoint(tmp_path / "5"), QUIET).policy_id)
    left = {path.name for path in cached.iterdir() if path.is_dir()}
    assert left == {*ids} - {ids[1]}
    assert on_s3.fetch(ids[1]).is_dir()


def test_a_damaged_copy_in_the_cache_is_fetched_again(on_s3: PolicyStore, tmp_path: Path) -> None:
    policy_id = on_s3.put(write_checkpoint(tmp_path / "epoch-1"), QUIET).policy_id
    folder = on_s3.fetch(policy_id)
    before = contents(folder)
    (folder / "model-00001-of-00002.safetensors").write_text("WEIGHTS")
    assert contents(on_s3.fetch(policy_id)) == before
    (folder / "tokenizer.json").unlink()
    assert contents(on_s3.fetch(policy_id)) == before


def test_a_damaged_file_in_the_store_is_replaced_from_a_machine_that_has_it(
    on_s3: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_id = on_s3.put(write_checkpoint(tmp_path / "epoch-1"), QUIET).policy_id
    on_s3.location.write(f"_policies/{policy_id}/tokenizer.json", b"[]")
    with monkeypatch.context() as elsewhere:
        on_another_machine(tmp_path, elsewhere)
        with pytest.raises(PolicyLost, match=r"tokenizer\.json is not the file that was stored"):
            on_s3.fetch(policy_id)
    assert on_s3.restore(policy_id, QUIET)
    on_another_machine(tmp_path, monkeypatch)
    assert (on_s3.fetch(policy_id) / "tokenizer.json").read_text() == "{}"


def test_a_strangers_lake_writes_nowhere_else(on_s3: PolicyStore, tmp_path: Path) -> None:
    policy_id = on_s3.put(write_checkpoint(tmp_path / "epoch-1"), QUIET).policy_id
    name = f"_policies/{policy_id}/{FILES}"
    files = (on_s3.fetch(policy_id) / FILES).read_text()
    on_s3.location.write(name, files.replace("tokenizer.json", "../tokenizer.json").encode())
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(PolicyLost, match="is missing"):
        on_s3.fetch(policy_id)
    assert not list((tmp_path / "cache").rglob("tokenizer.json"))


def test_what_the_store_lost_is_stored_again_from_the_cache(
    on_s3: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_id = on_s3.put(write_checkpoint(tmp_path / "epoch-1"), QUIET).policy_id
    on_s3.location.delete(f"_policies/{policy_id}/{FILES}")
    assert on_s3.restore(policy_id, QUIET)
    on_another_machine(tmp_path, monkeypatch)
    assert on_s3.fetch(policy_id).is_dir()


def test_several_readers_of_a_machine_get_one_copy(
    on_s3: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_id = on_s3.put(write_checkpoint(tmp_path / "epoch-1"), QUIET).policy_id
    on_another_machine(tmp_path, monkeypatch)
    with ThreadPoolExecutor(4) as readers:
        folders = set(readers.map(on_s3.fetch, [policy_id] * 4))
    (folder,) = folders
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]


def test_a_reader_that_is_killed_leaves_no_half_a_policy(
    on_s3: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_checkpoint(tmp_path / "epoch-1")
    before = contents(checkpoint)
    policy_id = on_s3.put(checkpoint, QUIET).policy_id
    on_another_machine(tmp_path, monkeypatch)
    code = (
        "import os, pickle, sys; from pipelines.lake.location import Location;"
        "store = pickle.loads(sys.stdin.buffer.read()); blocks = Location.blocks\n"
        "def dying(self, path):\n"
        "    if 'tokenizer' in path: os.kill(os.getpid(), 9)\n"
        "    yield from blocks(self, path)\n"
        f"Location.blocks = dying; store.fetch({policy_id!r})"
    )
    killed = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(on_s3), check=False)
    assert killed.returncode == -9
    assert contents(on_s3.fetch(policy_id)) == before


def test_an_upload_says_what_it_stores(
    on_s3: PolicyStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy_id = on_s3.put(write_checkpoint(tmp_path / "epoch-1"), LineProgress()).policy_id
    assert f"store policy {policy_id}: " in capsys.readouterr().out


def test_a_store_that_does_not_answer_has_lost_nothing() -> None:
    options = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "max_retries": "0",
    }
    store = PolicyStore(Location.at("s3://bucket/lake", options))
    with pytest.raises(LakeError, match=r"lake\.uri: cannot use s3://bucket/lake") as caught:
        store.holds("0123456789abcdef")
    assert not isinstance(caught.value, PolicyLost)
    assert "\n" not in str(caught.value)
