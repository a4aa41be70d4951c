"""Split sizes follow from the configuration alone."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.config import RunConfig
from pipelines.config.sizes import asked_sizes, problem_sizes

GENERATED = {"kind": "generator", "location": "module:function", "options": {"size": 400}}
FILE = {"kind": "jsonl", "location": "problems.jsonl"}


def config(
    *sources: dict[str, Any], suites: tuple[dict[str, Any], ...] = (), **problems: Any
) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "run",
            "problems": {"sources": list(sources), **problems},
            "evaluation": {"suites": list(suites)},
        }
    )


def test_problems_without_a_split_are_divided_after_those_held_out() -> None:
    run = config(GENERATED, num_validation=50, num_test=150)
    assert problem_sizes(run) == {"train": 200, "validation": 50, "test": 150}


def test_problems_of_a_file_are_unknown_but_those_held_out_are_known() -> None:
    assert problem_sizes(config(FILE, num_test=150)) == {
        "train": None,
        "validation": 0,
        "test": 150,
    }


def test_a_source_with_a_field_for_the_split_leaves_every_size_unknown() -> None:
    run = config(GENERATED, {**FILE, "split_field": "part"})
    assert problem_sizes(run) == {"train": None, "validation": None, "test": None}


def test_sources_with_a_split_are_added_to_it() -> None:
    transfer = {**GENERATED, "split": "transfer", "options": {"size": 30}}
    sizes = problem_sizes(config(GENERATED, transfer, {**transfer, "split": "test"}, num_test=150))
    assert sizes == {"train": 250, "validation": 0, "test": 180, "transfer": 30}


def test_training_problems_are_limited_by_max_train() -> None:
    assert problem_sizes(config(GENERATED, num_test=150, max_train=64))["train"] == 64


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ({"kind": "math"}, 7498),
        ({"kind": "math", "max_problems": 100}, 100),
        ({"kind": "math", "options": {"split": "test"}}, 5000),
        ({"kind": "math", "options": {"levels": [1]}}, None),
        ({"kind": "math", "options": {"levels": [1]}, "max_problems": 30}, 30),
        ({"kind": "gsm8k", "options": {"split": "unknown"}}, None),
        ({**GENERATED, "options": {"size": "many"}}, None),
        ({**FILE, "options": {"size": 400}}, None),
        ({**FILE, "max_problems": 7}, 7),
    ],
)
def test_the_size_of_a_source_is_that_of_the_set_or_its_limit(
    source: dict[str, Any], size: int | None
) -> None:
    assert problem_sizes(config(source))["train"] == size


def test_a_suite_has_its_own_problems_or_those_of_another() -> None:
    suites = (
        {"name": "bbh", "source": {"kind": "bbh"}},
        {"name": "direct", "problems_of": "bbh"},
        {"name": "again", "problems_of": "test"},
    )
    run = config(GENERATED, num_test=150, suites=suites)
    sizes = {"train": 250, "validation": 0, "test": 150, "bbh": 6511}
    assert problem_sizes(run) == sizes
    assert asked_sizes(run) == {**sizes, "direct": 6511, "again": 150}


def test_max_train_holds_where_every_source_has_a_split() -> None:
    sources = [{"kind": "math", "split": "train"}, {"kind": "math", "split": "test"}]
    problems = {"sources": sources, "max_train": 100}
    settings = RunConfig.model_validate({"name": "r", "problems": problems})
    assert problem_sizes(settings) == {"train": 100, "validation": 0, "test": 5000}
