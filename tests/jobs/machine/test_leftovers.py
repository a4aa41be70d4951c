import json
import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from jobs.machine.leftovers import claim, remove_ended, remove_openmp_files, temporary_folder
from pipelines.runtime.process import this_process


def session(folder: Path, name: str, owner: object = None) -> Path:
    """A session's folder, claimed by a process unless `owner` is None."""
    made = folder / f"session_{name}"
    (made / "logs").mkdir(parents=True)
    if owner is not None:
        claim(made)
        (mark,) = made.glob("*.json")
        mark.write_text(json.dumps(owner))
    return made


def test_sessions_of_starts_that_have_ended_are_removed_and_no_others(tmp_path: Path) -> None:
    here = asdict(this_process())
    ended = session(tmp_path, "ended", asdict(replace(this_process(), started="1")))
    kept = [
        session(tmp_path, "at-work", here),
        session(tmp_path, "of-another-machine", here | {"boot_id": "other"}),
        session(tmp_path, "of-another-program"),
        session(tmp_path, "unreadable", "?"),
    ]
    (tmp_path / "session_latest").symlink_to(ended)
    remove_ended(tmp_path, "session_")
    assert sorted(tmp_path.glob("session_[!l]*")) == sorted(kept)
    assert not (tmp_path / "session_latest").is_symlink()


def test_openmp_files_of_ended_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    user = os.getuid()
    kept = [
        f"__KMP_REGISTERED_LIB_{os.getpid()}_{user}",
        f"__KMP_REGISTERED_LIB_{ended.pid}_{user + 1}",
        "psm_1",
    ]
    for name in [*kept, f"__KMP_REGISTERED_LIB_{ended.pid}_{user}"]:
        (tmp_path / name).touch()
    remove_openmp_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_the_next_start_removes_the_folders_of_a_killed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    registered: list[Path] = []
    monkeypatch.setattr("atexit.register", lambda _, folder: registered.append(folder))
    killed = temporary_folder()
    (killed / "blockmgr").mkdir()
    (killed / "restem.json").write_text(json.dumps(asdict(replace(this_process(), started="1"))))
    (tmp_path / "ray").mkdir()
    session(tmp_path / "ray", "killed", asdict(replace(this_process(), started="1")))
    folders = [temporary_folder(), temporary_folder()]
    assert sorted(tmp_path.glob("restem-jvm-*")) == sorted(folders)
    assert list((tmp_path / "ray").iterdir()) == []
    assert registered == [killed, *folders]
