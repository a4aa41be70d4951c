import importlib.util
import sys
from pathlib import Path

import pytest

from pipelines.sampling.vllm_environment import (
    preloads,
    process_environment,
    without_optional_imports,
)


def test_only_libraries_that_exist_are_preloaded(tmp_path: Path) -> None:
    assert preloads((tmp_path,)) == []
    (tmp_path / "libtcmalloc.so.4").touch()
    assert preloads((tmp_path,)) == [str(tmp_path / "libtcmalloc.so.4")]
    (tmp_path / "libtcmalloc_minimal.so.4").touch()
    (tmp_path / "libiomp5.so").touch()
    assert preloads((tmp_path,)) == [
        str(tmp_path / "libtcmalloc_minimal.so.4"),
        str(tmp_path / "libiomp5.so"),
    ]


def test_only_a_cpu_engine_gets_a_number_of_threads_and_preloads() -> None:
    assert process_environment(6)["OMP_NUM_THREADS"] == "6"
    assert not {"OMP_NUM_THREADS", "LD_PRELOAD"} & set(process_environment(None))


def test_the_users_preloaded_libraries_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/opt/mine.so")
    assert process_environment(1)["LD_PRELOAD"].split(":")[0] == "/opt/mine.so"


def test_optional_packages_are_hidden_inside_the_context_unless_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    monkeypatch.setitem(sys.modules, "scipy", pytest)
    with without_optional_imports():
        assert importlib.util.find_spec("sklearn") is None
        assert sys.modules["scipy"] is pytest
    assert "sklearn" not in sys.modules
    assert importlib.util.find_spec("sklearn") is not None
