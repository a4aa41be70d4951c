import json
import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from jobs.machine.leftovers import claim_session, remove_ended_sessions, remove_openmp_files
from jobs.machine.sessions import ray_session
from pipelines.config import RayConfig
from pipelines.runtime.process import this_process


def session(folder: Path, name: str, owner: object = None) -> Path:
    """A session's folder, claimed by a process unless `owner` is None."""
    made = folder / f"session_{name}"
    (made / "logs").mkdir(parents=True)
    if owner is not None:
        claim_session(made)
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
    remove_ended_sessions(tmp_path)
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


@pytest.mark.slow
def test_a_cluster_that_was_started_for_a_run_leaves_no_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        killed = session(Path(short) / "ray", "x", asdict(replace(this_process(), started="1")))
        with ray_session(RayConfig(num_cpus=1, object_store_mb=80)):
            assert not killed.exists()
            assert list(Path(short).glob("ray/session_2*"))
        assert not list(Path(short).glob("ray/session_*"))
