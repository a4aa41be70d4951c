from pathlib import Path

import pytest

from pipelines.runtime.cache import atomic_folder, cache_folder


def test_restem_cache_names_the_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTEM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("RESTEM_CACHE")
    assert cache_folder().name == ".cache"


def test_a_failed_atomic_folder_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "made") as temporary:
            (temporary / "half").touch()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_first_finished_of_two_atomic_folders_stays(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with atomic_folder(folder) as slow:
        (slow / "slow").touch()
        with atomic_folder(folder) as quick:
            (quick / "quick").touch()
    assert [path.name for path in folder.iterdir()] == ["quick"]
    assert list(tmp_path.iterdir()) == [folder]
