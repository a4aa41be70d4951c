from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.checkpoints.policy import policy_id_of
from pipelines.config import RunConfig
from pipelines.errors import StageFailed
from pipelines.stages.improve import improve
from schemas import POLICIES
from tests.doubles import context, policies
from tests.pipelines.tuning.rows import EVEN, FEW_SHOT, TRAIN_ROWS, VALIDATION
from tests.tiny_model import build_tiny_model

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """A snapshot of literal rows; knows the one condition that the stage asks for."""

    rows: list[dict[str, Any]]
    iteration: int = 1
    version: int = 7

    def arrow(self, columns: list[str] | None = None, where: str | None = None) -> pa.Table:
        import pyarrow as pa

        rows = self.rows
        if where is not None:
            assert where == "purpose = 'validation' AND decoding = 'greedy'"
            rows = [r for r in rows if (r["purpose"], r["decoding"]) == ("validation", "greedy")]
        names = columns or list(self.rows[0])
        return pa.table({name: [row[name] for row in rows] for name in names})

    def count(self, where: str | None = None) -> int:
        return len(self.rows)


def config(lake: Path = Path("lake"), **training: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "tiny",
            "problems": {"sources": [{"kind": "jsonl", "location": "none.jsonl"}]},
            "sampling": {"max_tokens": 8, "stop": ["\n"]},
            "model": {"max_model_len": 128},
            "reward": EVEN.model_dump(),
            "improve": {"learning_rate": 3e-3, "batch_size": 8, "max_epochs": 2},
            "training": {"dtype": "float32", **training},
            "lake": {"uri": str(lake)},
        }
    )


TRAINING_SET = Rows(
    [
        {
            "prompt": prompt,
            "solution": solution,
            "weight": weight,
            "stop_string": stop_string,
        }
        for prompt, solution, weight, stop_string in TRAIN_ROWS
    ]
)
PROMPTS = Rows(
    [
        {
            "text": text,
            "question": text.removeprefix(FEW_SHOT),
            "reference": reference,
            "problem_id": text,
            "purpose": purpose,
            "decoding": decoding,
        }
        for purpose, decoding in (("validation", "greedy"), ("test", "greedy"), ("train", "sample"))
        for text, reference in VALIDATION
    ]
)


@pytest.mark.slow
def test_improve_makes_one_row_of_policies(tmp_path: Path) -> None:
    start = build_tiny_model(tmp_path / "start")
    base, given = policy_id_of(start), context(tmp_path)
    longer_than_the_model = {**TRAINING_SET.rows[0], "solution": "x" * 128}
    training_set = Rows([*TRAINING_SET.rows, longer_than_the_model])
    stage = improve(config(tmp_path / "lake"))
    table = stage.function(given, training_set, PROMPTS, policies(base, str(start)))
    columns = [name for name in POLICIES.column_names if name not in {"run_id", "iteration"}]
    assert table.column_names == columns
    (row,) = table.to_pylist()
    checkpoint = Path(row["checkpoint_uri"])
    assert row["policy_id"] == policy_id_of(checkpoint) != base
    assert checkpoint == tmp_path / "lake" / "_policies" / row["policy_id"]
    # A start that was killed before the policy was committed has nothing to train again.
    again = stage.function(context(tmp_path), training_set, PROMPTS, policies(base, str(start)))
    assert again.drop_columns(["created_at"]) == table.drop_columns(["created_at"])
    assert row["started_from"] == base
    assert row["training_set_version"] == 7
    assert 1 <= row["epoch"] <= row["num_epochs"] <= 2
    history = json.loads(row["history"])
    assert history[row["epoch"] - 1]["validation_reward"] == row["validation_reward"]
    assert given.measures["labelled_tokens"] == history[0]["tokens"] > 0
    assert given.measures["examples_per_second"] > 0
    assert given.measures["rows_too_long"] == 1
    assert history[0]["examples"] == len(TRAINING_SET.rows)


def test_ray_is_started_for_a_training_that_is_launched_there(tmp_path: Path) -> None:
    class Started(Exception):
        pass

    def start_ray() -> None:
        raise Started

    given = context(tmp_path, start_ray=start_ray)
    with pytest.raises(Started):
        improve(config(launcher="ray")).function(given, TRAINING_SET, PROMPTS, policies())


def test_an_empty_training_set_names_the_remedy(tmp_path: Path) -> None:
    empty = Rows([])
    with pytest.raises(StageFailed, match=r"no solution was rewarded.*num_samples_per_problem"):
        improve(config()).function(context(tmp_path), empty, PROMPTS, policies())
    assert not (tmp_path / "policy-1").exists()
