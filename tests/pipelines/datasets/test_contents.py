"""A run is pinned to what its sources hold, not to where they lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import RunConfig
from pipelines.datasets.contents import with_contents
from pipelines.stages.ingest import problem_id, read_sources


def problems(folder: Path, name: str = "problems.jsonl", last: str = "2") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"question": "1 + 0", "answer": "1"}, {"question": "1 + 1", "answer": last}]
    (folder / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder / name


def config(location: Path | str, **source: Any) -> RunConfig:
    tree = {"kind": "jsonl", "location": str(location), **source}
    return RunConfig.model_validate({"name": "r", "problems": {"sources": [tree]}})


def pinned(location: Path | str, before: RunConfig | None = None) -> dict[str, Any]:
    return with_contents(config(location), before).pinned()


def test_a_moved_file_and_another_spelling_are_the_same_settings(tmp_path: Path) -> None:
    first, second = problems(tmp_path / "a"), problems(tmp_path / "b" / "c", "other.jsonl")
    spelled = tmp_path / "a" / ".." / "a" / "problems.jsonl"
    assert pinned(first) == pinned(second) == pinned(spelled)
    assert with_contents(config(first), None).config_hash() == (
        with_contents(config(second), None).config_hash()
    )


def test_another_row_is_another_configuration(tmp_path: Path) -> None:
    assert pinned(problems(tmp_path / "a")) != pinned(problems(tmp_path / "b", last="3"))


def test_a_run_goes_on_without_the_file_it_has_read(tmp_path: Path) -> None:
    path = problems(tmp_path)
    before = with_contents(config(path), None)
    path.unlink()
    assert pinned(path, before) == before.pinned()


def test_a_run_that_was_pinned_to_its_location_stays_so(tmp_path: Path) -> None:
    path = problems(tmp_path)
    assert pinned(path, config(path)) == config(path).pinned()


def test_a_delta_table_is_known_by_its_id(tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    write_deltalake(tmp_path / "a", pa.table({"question": ["1"], "answer": ["1"]}))
    before = with_contents(config(tmp_path / "a", kind="delta"), None)
    (tmp_path / "a").rename(tmp_path / "b")
    after = with_contents(config(tmp_path / "b", kind="delta"), None)
    assert before.pinned() == after.pinned()
    write_deltalake(tmp_path / "a", pa.table({"question": ["1"], "answer": ["1"]}))
    assert with_contents(config(tmp_path / "a", kind="delta"), None).pinned() != before.pinned()


def test_a_published_set_and_a_generator_keep_what_they_are_known_by() -> None:
    assert config("any:where", kind="generator").pinned()["problems"]["sources"][0]["location"] == (
        "any:where"
    )


@pytest.mark.parametrize(
    ("settings", "identity"),
    [({}, ""), ({"dataset": "sums"}, "sums"), ({"kind": "gsm8k"}, "gsm8k")],
)
def test_a_problem_is_what_it_asks_and_the_name_of_its_set(
    settings: dict[str, Any], identity: str
) -> None:
    (source,) = config("here.jsonl", **settings).problems.sources
    assert source.identity == identity


def test_the_same_problems_chosen_from_another_file_are_the_same(tmp_path: Path) -> None:
    first = read_sources(config(problems(tmp_path / "a"), max_problems=1)).to_pylist()
    second = read_sources(config(problems(tmp_path / "b"), max_problems=1)).to_pylist()
    assert first[0]["question"] == second[0]["question"]
    assert problem_id(first[0]["identity"], first[0]["question"]) == (
        problem_id(second[0]["identity"], second[0]["question"])
    )
