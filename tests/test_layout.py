"""The repository's own rules: names that could be taken for others, and paths that must exist."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from pipelines.config.load import load_config

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("schemas", "expectations", "pipelines", "jobs", "tests")
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
_IN_README = re.compile(
    r"`((?:\.github|\.ci|benchmarks|configs|docs|expectations|jobs|notebooks|pipelines|"
    r"requirements|schemas|tests)/[\w./-]*)`"
)


@pytest.mark.parametrize("name", PACKAGES)
def test_our_packages_win_the_import(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve() == ROOT / name / "__init__.py"


def test_no_module_is_named_like_the_standard_library() -> None:
    names = {path.stem for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert not names & (set(sys.stdlib_module_names) - {"__init__", "__main__"})


@pytest.mark.parametrize("name", PACKAGES)
def test_every_folder_of_modules_is_a_package(name: str) -> None:
    folders = {path.parent for path in (ROOT / name).rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_the_rooms_of_pipelines_are_packages_and_few_modules_lie_outside() -> None:
    outside = {path.name for path in (ROOT / "pipelines").glob("*.py")} - {"__init__.py"}
    assert "rest_em.py" in outside
    assert len(outside) <= 6


def test_only_the_sessions_module_opens_spark_or_ray() -> None:
    opens = re.compile(r"SparkSession\.builder|ray\.init\(")
    modules = [path for package in PACKAGES[:-1] for path in (ROOT / package).rglob("*.py")]
    found = {path for path in modules if opens.search(path.read_text(encoding="utf-8"))}
    assert found == {ROOT / "jobs" / "machine" / "sessions.py"}


def _is_run(path: Path) -> bool:
    return "problems:" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_configuration_parses(path: Path) -> None:
    if _is_run(path):
        assert load_config(path).config_hash()


def test_every_path_that_the_readme_names_exists() -> None:
    readme = ROOT / "README.md"
    if not readme.is_file():
        return
    named = _IN_README.findall(readme.read_text(encoding="utf-8"))
    assert not [path for path in named if not (ROOT / path).exists()]


def test_every_module_and_function_that_the_architecture_names_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?!pipelines|jobs|schemas)[a-z_]+/[\w/]+\.py)(?::\s+(\w+))?`", text)
    assert len(named) > 8
    for path, name in named:
        module = ROOT / "pipelines" / path
        assert module.is_file(), path
        assert not name or re.search(
            rf"^(def|class) {name}\b", module.read_text(encoding="utf-8"), re.MULTILINE
        ), f"{path}: {name}"
