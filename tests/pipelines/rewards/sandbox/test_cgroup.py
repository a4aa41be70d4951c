"""The folders are ordinary ones: what is written where, not what the kernel makes of it."""

import os
import subprocess
from pathlib import Path

import pytest

from pipelines.rewards.sandbox import cgroup
from pipelines.rewards.sandbox.isolation import Limits


def tree(top: Path, path: str, controllers: str) -> Path:
    """A cgroup file system whose group `path` hands out some controllers."""
    (top / path).mkdir(parents=True)
    for folder in (top / path, *(top / path).parents):
        if folder.is_relative_to(top):
            (folder / "cgroup.subtree_control").write_text("")
            (folder / "cgroup.procs").write_text("")
    (top / path / "cgroup.subtree_control").write_text(controllers)
    own = top.with_name("own")
    own.write_text(f"2:cpu:/else\n0::/{path}\n")
    return own


def test_a_group_is_made_where_memory_is_delegated_and_removed(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    own = tree(mount, "user/app", "memory pids")
    left = mount / "user/app/restem-sandbox-1-left"
    left.mkdir()
    made = cgroup.make(Limits(memory_mb=256), mount, own)
    assert made is not None
    assert not left.exists()
    assert (made.folder / "memory.max").read_text() == str((256 + 16 + 8 + 64) * 2**20)
    assert (made.folder / "memory.swap.max").read_text() == "0"
    assert (made.folder / "pids.max").read_text() == "40"
    ended = subprocess.run(
        made.command(["/bin/sh", "-c", 'echo "$$" "$0"', "it's"]),
        capture_output=True,
        check=True,
        text=True,
    )
    entered = (made.folder / "cgroup.procs").read_text().strip()
    assert ended.stdout.split(maxsplit=1) == [entered, "it's\n"]
    for file in made.folder.iterdir():
        file.unlink()  # a real group's files go with it
    made.remove()
    assert not made.folder.exists()


@pytest.mark.parametrize("controllers", ["", "pids cpu"])
def test_no_group_is_made_where_memory_is_not_delegated(tmp_path: Path, controllers: str) -> None:
    mount = tmp_path / "mount"
    own = tree(mount, "user/app", controllers)
    assert cgroup.make(Limits(), mount, own) is None
    assert [p for p in mount.rglob("*") if "restem" in p.name] == []


def test_root_stays_within_its_own_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = tmp_path / "mount"
    own = tree(mount, "user/app", "")
    (mount / "cgroup.subtree_control").write_text("memory")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert cgroup.make(Limits(), mount, own) is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    made = cgroup.make(Limits(), mount, own)
    assert made is not None
    assert made.folder.parent == mount


def test_no_group_is_made_without_cgroup_v2(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("4:memory:/only/v1\n")
    assert cgroup.make(Limits(), tmp_path, own) is None
    assert cgroup.make(Limits(), tmp_path, tmp_path / "none") is None
