from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.config import RunConfig
from pipelines.errors import InputError
from pipelines.stages.ingest import ingest, problem_id
from schemas import PROBLEMS
from tests.doubles import context

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession

pytestmark = pytest.mark.slow


def source(path: Path, questions: list[str], **settings: Any) -> dict[str, Any]:
    rows = [json.dumps({"question": q, "answer": "0"}) for q in questions]
    path.write_text("\n".join(rows), encoding="utf-8")
    return {"kind": "jsonl", "location": str(path), "dataset": path.stem, **settings}


def ingested(spark: SparkSession, seed: int = 0, **problems: Any) -> list[Row]:
    config = RunConfig.model_validate({"name": "r", "seed": seed, "problems": problems})
    made: list[Row] = ingest(config).function(context(spark=lambda: spark)).collect()
    return made


def refusal(spark: SparkSession, **problems: Any) -> str:
    with pytest.raises(InputError) as caught:
        ingested(spark, **problems)
    return str(caught.value)


def questions(count: int, word: str = "Question") -> list[str]:
    return [f"{word} {number}?" for number in range(count)]


def test_rows_have_the_columns_of_the_table_and_the_ids_of_the_pure_function(
    spark: SparkSession, tmp_path: Path
) -> None:
    asked = ["Zwei \u00d7 drei?\nSag es.", "\U0001f600 + 1?"]
    rows = ingested(spark, sources=[source(tmp_path / "a.jsonl", asked)])
    assert set(rows[0].asDict()) == set(PROBLEMS.column_names) - {"run_id", "iteration"}
    assert {row.problem_id for row in rows} == {problem_id("a", question) for question in asked}
    assert {row.source_row for row in rows} == {1, 2}


def test_rows_without_a_split_are_split_in_the_exact_numbers_asked_for(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = ingested(
        spark,
        sources=[
            source(tmp_path / "free.jsonl", questions(20)),
            source(tmp_path / "own.jsonl", questions(3, "Own"), split="transfer"),
        ],
        num_validation=4,
        num_test=5,
    )
    count = Counter(row.split for row in rows)
    assert count == {"train": 11, "validation": 4, "test": 5, "transfer": 3}
    assert {row.split for row in rows if row.dataset == "own"} == {"transfer"}


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows(
    spark: SparkSession, tmp_path: Path
) -> None:
    def split(asked: list[str], seed: int) -> dict[str, str]:
        sources = [source(tmp_path / "a.jsonl", asked)]
        rows = ingested(spark, seed, sources=sources, num_validation=5, num_test=5)
        return {row.question: row.split for row in rows}

    asked = questions(20)
    assert split(asked, 1) == split(asked[::-1], 1)
    assert split(asked, 1) != split(asked, 2)


def test_at_most_max_train_training_problems_are_kept(spark: SparkSession, tmp_path: Path) -> None:
    rows = ingested(
        spark,
        sources=[source(tmp_path / "a.jsonl", questions(20))],
        num_test=5,
        max_train=7,
    )
    assert Counter(row.split for row in rows) == {"train": 7, "test": 5}


def test_questions_that_differ_in_white_space_and_case_alone_are_refused_with_their_rows(
    spark: SparkSession, tmp_path: Path
) -> None:
    message = refusal(
        spark,
        sources=[
            source(tmp_path / "a.jsonl", ["One?", "Two?", "  two? "]),
            source(tmp_path / "b.jsonl", ["ONE?"]),
        ],
    )
    first, second = message.splitlines()
    assert first.startswith("a: row 1: ")
    assert "again in row 1 of b; " in first
    assert second.startswith("a: row 2: ")
    assert "again in row 3; " in second


def test_the_first_ten_duplicates_are_named_and_the_others_counted(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = refusal(spark, sources=[source(tmp_path / "a.jsonl", questions(13) * 2)]).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "... and 3 more"


def test_too_few_problems_for_the_splits_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    message = refusal(
        spark,
        sources=[source(tmp_path / "a.jsonl", questions(8))],
        num_validation=4,
        num_test=4,
    )
    assert "they are 4 + 4, and the sources have 8 problems" in message


def test_ids_and_splits_do_not_depend_on_where_the_problems_lie(
    spark: SparkSession, tmp_path: Path
) -> None:
    def split_of(folder: str, name: str) -> dict[str, str]:
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        unnamed = {**source(place / name, questions(40)), "dataset": None}
        rows = ingested(spark, sources=[unnamed], num_validation=5, num_test=12)
        return {row.problem_id: row.split for row in rows}

    assert split_of("a", "x.jsonl") == split_of("b/c", "y.jsonl") == split_of("a/../a", "x.jsonl")


def refusing(path: Path) -> dict[str, Any]:
    """Ten problems; the references of two are empty, and one of these is asked again."""
    rows = [{"question": f"Question {n}?", "answer": "" if n < 2 else str(n)} for n in range(10)]
    rows.append({"question": "question  0?", "answer": "0"})
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return {"kind": "jsonl", "location": str(path)}


def test_problems_that_their_verifier_refuses_are_left_out_with_the_reason(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = ingested(
        spark,
        sources=[refusing(tmp_path / "a.jsonl")],
        num_test=4,
        num_validation=2,
        refused="drop",
    )
    # The other row with the question of the first one is asked.
    assert Counter(row.split for row in rows) == {
        "train": 3,
        "test": 4,
        "validation": 2,
        "refused": 1,
    }
    (left_out,) = [row for row in rows if row.refused is not None]
    assert (left_out.split, left_out.question) == ("refused", "Question 1?")
    assert left_out.refused == "its own answer gets the verdict error (the reference is empty)"
    assert len({row.problem_id for row in rows}) == len(rows)


def test_refused_problems_that_are_not_left_out_keep_their_split(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = ingested(spark, sources=[refusing(tmp_path / "a.jsonl")], duplicates="first")
    assert {row.split for row in rows} == {"train"}
    assert {row.question for row in rows if row.refused} == {"Question 0?", "Question 1?"}
