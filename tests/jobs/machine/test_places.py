"""Folders that cannot be written are one line that names them; nothing is written, no traceback."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.machine.places import (
    claim_folder,
    naming_full_disks,
    require_own_folder,
    require_writable,
)
from pipelines.config import LakeConfig, ProblemsConfig, RunConfig, SourceConfig
from pipelines.config.load import load_config
from pipelines.errors import ConfigError, MachineError
from pipelines.lake.location import Location
from pipelines.lake.lock import run_lock
from pipelines.lake.tables import create_tables
from tests.tiny_loop import ROOT, write_project


def config(output: Path, lake: Path) -> RunConfig:
    source = SourceConfig(kind="generator", location="a:b")
    return RunConfig(
        name="r",
        output=output,
        lake=LakeConfig(uri=str(lake)),
        problems=ProblemsConfig(sources=(source,)),
    )


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match=rf"output: .*{file} is a file.*choose another folder"):
        require_writable(config(file / "deeper", tmp_path / "lake"))
    with pytest.raises(ConfigError, match=rf"lake.uri: .*{file} is a file"):
        require_writable(config(tmp_path / "data", file))
    require_writable(config(tmp_path / "data", tmp_path / "lake"))
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_read_only_is_named() -> None:
    # Read-only for root too.
    with pytest.raises(ConfigError, match=r"output: cannot write below /proc/"):
        require_writable(config(Path("/proc/sys/data"), Path("unused")))


def test_a_folder_belongs_to_one_lake_wherever_that_is(tmp_path: Path) -> None:
    ours, theirs = (config(tmp_path / "data", tmp_path / name) for name in ("ours", "theirs"))
    require_own_folder(ours)
    claim_folder(ours)
    require_own_folder(ours)
    with pytest.raises(ConfigError, match=r"output: .* belongs to run .*ours.*theirs") as caught:
        require_own_folder(theirs)
    assert "\n" not in str(caught.value)
    assert "choose another output" in str(caught.value)
    create_tables(Location.of(ours.lake), ours.lake)
    claim_folder(ours)
    (tmp_path / "ours").rename(tmp_path / "moved")
    require_own_folder(config(tmp_path / "data", tmp_path / "moved"))
    create_tables(Location.of(theirs.lake), theirs.lake)
    with pytest.raises(ConfigError, match="belongs to"):
        require_own_folder(theirs)
    (tmp_path / "data" / "runs" / ours.name / "lake.json").unlink()  # the remedy that it names
    require_own_folder(theirs)


def test_a_run_says_it_in_one_line(tmp_path: Path) -> None:
    path = write_project(tmp_path)
    file = tmp_path / "file"
    file.touch()
    for setting in (f"output={file}", f"lake.uri={file}/lake"):
        result = CliRunner().invoke(app, ["run", str(path), "--set", setting])
        assert result.exit_code == 2, result.output
        assert result.stderr.count("\n") == 1
        assert f"{file} is a file" in result.stderr
    assert not (tmp_path / "lake").exists()


def test_a_run_and_its_plan_refuse_the_folder_of_another_lake_in_one_line(tmp_path: Path) -> None:
    path = write_project(tmp_path)
    claim_folder(load_config(path))
    for command in ("run", "plan"):
        other = ["--set", f"lake.uri={tmp_path}/other"]
        result = CliRunner().invoke(app, [command, str(path), *other])
        assert result.exit_code == 2, result.output
        assert result.stderr.count("\n") == 1
        assert "belongs to run 'tiny'" in result.stderr
    assert not (tmp_path / "other").exists()


def test_a_full_disk_is_named_with_what_is_left(tmp_path: Path) -> None:
    with (
        pytest.raises(MachineError, match=r"disk is full.*lake\.uri.*MiB free.*same command"),
        naming_full_disks(config(tmp_path / "data", tmp_path / "lake")),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(ZeroDivisionError), naming_full_disks(config(tmp_path, tmp_path)):
        raise ZeroDivisionError


def test_a_mount_without_locks_is_used_without_them(  # the run's lease is the guarantee
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", unsupported)
    with run_lock(Location.at(str(tmp_path), {}), "r") as is_held:
        assert not is_held


def _can_mount() -> bool:
    probe = ["unshare", "-rm", "true"]
    return (
        shutil.which("unshare") is not None and subprocess.run(probe, check=False).returncode == 0
    )


_FILL = """
import sys
from pathlib import Path
from jobs.machine.places import naming_full_disks
from pipelines.errors import MachineError
from pipelines.lake.location import Location
from pipelines.lake.tables import create_tables
from tests.jobs.machine.test_places import config
full = Path(sys.argv[1])
run = config(full.parent / "data", full)
try:
    with naming_full_disks(run):
        create_tables(Location.of(run.lake), run.lake)
except MachineError as error:
    print(error)
"""


@pytest.mark.skipif(not _can_mount(), reason="needs a mount namespace")
def test_a_lake_on_a_full_disk_is_named(tmp_path: Path) -> None:
    full = tmp_path / "lake"
    full.mkdir()
    mount = f"mount -t tmpfs -o size=16k tmpfs {full}"
    fill = [sys.executable, "-c", _FILL, str(full)]
    told = subprocess.run(
        ["unshare", "-rm", "bash", "-c", f'{mount} && exec "$@"', "-", *fill],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert f"a disk is full: lake.uri {full} (0 MiB free)" in told.stdout
