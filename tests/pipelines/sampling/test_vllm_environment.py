import importlib.util
import sys

import pytest

from pipelines.sampling.vllm_environment import without_optional_imports


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
