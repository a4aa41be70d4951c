from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from pipelines.config import RunConfig
from pipelines.placement.model_memory import RowLengths
from pipelines.runs.prompt_lengths import training_row_lengths


def run_config(max_model_len: int = 1024) -> RunConfig:
    tree: dict[str, Any] = {
        "name": "any",
        "model": {"max_model_len": max_model_len},
        "problems": {"sources": [{"kind": "generator", "location": "any:problems"}]},
        "prompt": {"template": "Q: {question} A:"},
        "sampling": {"max_tokens": 50},
    }
    return RunConfig.model_validate(tree)


def problems(*rows: tuple[str, str | None]) -> pa.Table:
    return pa.table(
        {
            "question": [question for question, _ in rows],
            "split": pa.array([split for _, split in rows], pa.string()),
        }
    )


class Words:
    """Counts words as tokens, and remembers how many texts it was given."""

    def __init__(self) -> None:
        self.num_texts = 0

    def __call__(self, texts: list[str]) -> list[int]:
        self.num_texts += len(texts)
        return [len(text.split()) for text in texts]


def test_rows_are_bounded_by_the_frame_and_by_the_longest_prompt_with_its_solution() -> None:
    rows = problems(("one two three", None), ("one two", "train"), ("a b c d e f", "test"))
    # "Q:" and "A:", and a solution of one token; three words between them, and max_tokens.
    assert training_row_lengths(run_config(), rows, Words()) == RowLengths(3, 2 + 3 + 50)
    assert training_row_lengths(run_config(54), rows, Words()) == RowLengths(3, 54)


def test_the_longest_prompt_has_the_most_tokens_not_the_most_bytes() -> None:
    rows = problems(("wonderfully extraordinary", None), ("a b c d e", None))
    assert training_row_lengths(run_config(), rows, Words()).longest == 2 + 5 + 50


def test_questions_that_cannot_be_the_longest_are_not_tokenized() -> None:
    long = [(f"{'w ' * 500}{n}", None) for n in range(256)]
    short = [(f"short {n}", None) for n in range(5000)]
    count = Words()
    assert (
        training_row_lengths(run_config(), problems(*short, *long), count).longest == 2 + 501 + 50
    )
    assert count.num_texts == 1 + 256


@pytest.mark.parametrize("split", ["test", "validation"])
def test_without_training_problems_only_the_frame_counts(split: str) -> None:
    rows = problems(("one two three", split))
    assert training_row_lengths(run_config(), rows, Words()) == RowLengths(3, 52)
