from __future__ import annotations

import random

import pytest

from pipelines.config import RunConfig
from pipelines.errors import ConfigError
from pipelines.runs.stages_by_name import named_steps
from pipelines.runs.steps import steps_of


def config(num_iterations: int = 2, **problems: object) -> RunConfig:
    source = {"kind": "jsonl", "location": "x.jsonl"}
    return RunConfig.model_validate(
        {
            "name": "r",
            "num_iterations": num_iterations,
            "problems": {"sources": [source], **problems},
        }
    )


def named(names: str, iteration: int, config: RunConfig) -> list[tuple[int, str]]:
    return [step.key for step in named_steps(names, iteration, config)]


def test_names_without_an_iteration_are_of_the_one_that_is_given() -> None:
    assert named("generate", 2, config()) == [(2, "generate")]
    assert named("curate@1, evaluate,select@1", 0, config()) == [
        (0, "evaluate"),
        (1, "select"),
        (1, "curate"),
    ]


def test_any_order_of_names_is_the_loops() -> None:
    stages = [step.key for step in steps_of(config())]
    shuffled = random.Random(0).sample(stages, len(stages))
    names = ",".join(f"{name}@{iteration}" for iteration, name in shuffled)
    assert named(names, 0, config()) == stages


@pytest.mark.parametrize(
    ("names", "iteration", "message"),
    [
        ("sample", 0, "stage must be one of ingest, .*, got 'sample'"),
        ("render,", 0, "stage must be one of ingest, .*, got ''"),
        ("select@one", 0, "stage 'select@one': after @ comes an iteration, such as select@1"),
        ("select", 0, "no stage 'select' in iteration 0; it has it in 1, 2"),
        ("ingest", 1, "no stage 'ingest' in iteration 1; it has it in 0"),
        ("score@3", 0, "no stage 'score' in iteration 3; it has it in 0, 1, 2"),
        ("contamination", 0, "no stage 'contamination' in iteration 0; its file asks for none"),
    ],
)
def test_a_stage_that_the_run_does_not_have_is_refused(
    names: str, iteration: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        named(names, iteration, config())


def test_a_run_that_looks_for_contamination_has_that_stage() -> None:
    assert named("contamination", 0, config(contamination={})) == [(0, "contamination")]
