from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import SourceConfig
from pipelines.datasets.problem import RawProblem
from pipelines.datasets.read import read
from pipelines.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"question": "1 + 1?", "answer": "2", "level": 1},
    {"question": "2 + 2?", "answer": "4", "level": 2},
]


def problems(seed: int = 0, **source: Any) -> list[RawProblem]:
    return list(read(SourceConfig(**source), seed))


def refusal(seed: int = 0, **source: Any) -> str:
    with pytest.raises(InputError) as caught:
        problems(seed, **source)
    return str(caught.value)


def jsonl(folder: Path, *lines: str | dict[str, Any]) -> str:
    path = folder / "problems.jsonl"
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return str(path)


def made(seed: int, count: int = 2) -> Iterator[dict[str, str]]:
    """A generator as a user writes it."""
    for number in range(count):
        yield {"question": f"{seed} + {number}?", "answer": str(seed + number)}


NOT_CALLABLE = 1


def test_jsonl_gives_fields_by_name_and_keeps_the_others_as_metadata(tmp_path: Path) -> None:
    first, second = problems(kind="jsonl", location=jsonl(tmp_path, *ROWS))
    assert first == RawProblem("1 + 1?", "2", None, None, 1, {"level": 1})
    assert (second.source_row, second.reference) == (2, "4")


def test_jsonl_rows_count_lines_as_an_editor_does(tmp_path: Path) -> None:
    path = jsonl(tmp_path, ROWS[0], "", ROWS[1])
    assert [p.source_row for p in problems(kind="jsonl", location=path)] == [1, 3]


def test_fields_are_mapped_by_the_configuration(tmp_path: Path) -> None:
    row = {"problem": "3 * 3?", "final": 9, "proof": "3 + 3 + 3", "part": "valid"}
    (found,) = problems(
        kind="jsonl",
        location=jsonl(tmp_path, row),
        question_field="problem",
        reference_field="final",
        solution_field="proof",
        split_field="part",
    )
    assert found == RawProblem("3 * 3?", "9", "3 + 3 + 3", "validation", 1, {"part": "valid"})


def test_a_reference_that_is_not_text_is_kept_as_json(tmp_path: Path) -> None:
    row = {"question": "Write f.", "answer": ["assert f(1) == 2", "assert f(2) == 3"]}
    (found,) = problems(kind="jsonl", location=jsonl(tmp_path, row))
    assert json.loads(found.reference) == row["answer"]


def test_a_source_split_holds_for_all_its_rows(tmp_path: Path) -> None:
    found = problems(kind="jsonl", location=jsonl(tmp_path, *ROWS), split="hungarian")
    assert {p.split for p in found} == {"hungarian"}


def test_csv_and_parquet_give_the_same_problems_as_jsonl(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = tmp_path / "problems.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["question", "answer"])
        writer.writeheader()
        writer.writerows({key: row[key] for key in ("question", "answer")} for row in ROWS)
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "problems.parquet")

    expected = [(p["question"], p["answer"], number) for number, p in enumerate(ROWS, 1)]
    for kind, path in (("csv", table), ("parquet", tmp_path / "problems.parquet")):
        found = problems(kind=kind, location=str(path))
        assert [(p.question, p.reference, p.source_row) for p in found] == expected


def test_a_delta_table_is_read_at_the_version_asked_for(tmp_path: Path) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake

    uri = str(tmp_path / "table")
    write_deltalake(uri, pa.Table.from_pylist(ROWS[:1]))
    write_deltalake(uri, pa.Table.from_pylist(ROWS[1:]), mode="append")
    assert len(problems(kind="delta", location=uri)) == 2
    (first,) = problems(kind="delta", location=uri, options={"version": 0})
    assert first.question == "1 + 1?"
    assert "at version 9" in refusal(kind="delta", location=uri, options={"version": 9})
    assert "no Delta table" in refusal(kind="delta", location=str(tmp_path / "none"))


def test_a_generator_is_called_with_the_seed_and_the_options() -> None:
    location = f"{__name__}:made"
    found = problems(7, kind="generator", location=location, options={"count": 3})
    assert [p.question for p in found] == ["7 + 0?", "7 + 1?", "7 + 2?"]


def test_options_may_fix_the_seed_of_a_generator() -> None:
    found = problems(7, kind="generator", location=f"{__name__}:made", options={"seed": 1})
    assert found[0].question == "1 + 0?"


def test_reasoning_gym_items_follow_the_seed() -> None:
    task: dict[str, Any] = {
        "kind": "reasoning_gym",
        "location": "chain_sum",
        "options": {"size": 4},
    }
    assert len(problems(1, **task)) == 4
    assert problems(1, **task) == problems(1, **task)
    assert problems(1, **task) != problems(2, **task)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{not json", "is not JSON"),
        ("[1, 2]", "must be a JSON object"),
        ({"answer": "2"}, "has no field 'question' (it has 'answer')"),
        ({"question": "1 + 1?"}, "has no field 'answer' (it has 'question')"),
        ({"question": "1 + 1?", "answer": None}, "'answer' must not be null"),
        ({"question": "  ", "answer": "2"}, "'question' must not be empty, got '  '"),
        ({"question": 11, "answer": "2"}, "'question' must be text, got 11"),
    ],
)
def test_a_bad_row_is_refused_with_its_number(
    tmp_path: Path, line: str | dict[str, Any], says: str
) -> None:
    path = jsonl(tmp_path, ROWS[0], line)
    message = refusal(kind="jsonl", location=path)
    assert message.startswith(f"{path}: row 2: ")
    assert says in message


def test_all_bad_rows_are_counted_and_the_first_ten_are_listed(tmp_path: Path) -> None:
    lines = refusal(kind="jsonl", location=jsonl(tmp_path, *["{"] * 14)).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "... and 4 more"


def test_a_csv_record_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "problems.csv"
    path.write_text("question,answer\n1 + 1?,2\n2 + 2?\n", encoding="utf-8")
    assert "row 2: must have the fields 'question', 'answer'" in refusal(
        kind="csv", location=str(path)
    )


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_missing_file_is_named(tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / "none")
    message = refusal(kind=kind, location=path)
    assert message.startswith("problems.sources.location: ")
    assert path in message


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    assert "has no rows" in refusal(kind="jsonl", location=jsonl(tmp_path))


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    assert "cannot be read as Parquet" in refusal(kind="parquet", location=jsonl(tmp_path, *ROWS))


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("nothing", "must be 'module:function'"),
        ("no_such_module_here:f", "cannot import"),
        (f"{__name__}:no_such_function", "cannot import"),
        (f"{__name__}:NOT_CALLABLE", "is not a function"),
    ],
)
def test_a_generator_that_cannot_be_called_is_named(location: str, says: str) -> None:
    assert says in refusal(kind="generator", location=location)


def test_a_generator_refuses_options_it_does_not_know() -> None:
    message = refusal(kind="generator", location=f"{__name__}:made", options={"size": 3})
    assert "cannot be called with seed, size" in message


def test_an_unknown_reasoning_gym_task_is_refused_with_near_names() -> None:
    message = refusal(kind="reasoning_gym", location="chain_sums")
    assert "no task 'chain_sums'" in message
    assert "chain_sum," in message
    assert "does not take" in refusal(
        kind="reasoning_gym", location="chain_sum", options={"colour": "red"}
    )


def test_an_unreachable_hub_is_reported_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from huggingface_hub import constants

    # Port 9 of this machine refuses; what is patched here is put back with the endpoint.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", constants.HF_HUB_OFFLINE)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", datasets.config.HF_HUB_OFFLINE)
    started = time.monotonic()
    message = refusal(kind="hub", location="nobody/no-such-set")
    assert message.startswith("problems.sources.location: cannot get 'nobody/no-such-set'")
    assert "\n" not in message
    assert time.monotonic() - started < 10


def test_a_line_that_is_not_csv_is_numbered_from_1(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('question,answer\n"1 + 1,2\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"line [1-9]\d*: is not CSV"):
        list(read(SourceConfig(kind="csv", location=str(path)), 0))
    path.write_text('"question\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"line [1-9]\d*: is not CSV"):
        list(read(SourceConfig(kind="csv", location=str(path)), 0))


def test_a_csv_file_may_have_another_delimiter_and_encoding(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes("question;answer\nWie groß?;groß\n".encode("latin-1"))

    def problems(**options: Any) -> list[str]:
        source = SourceConfig(kind="csv", location=str(path), options=options)
        return [problem.question for problem in read(source, 0)]

    assert problems(delimiter=";", encoding="latin-1") == ["Wie groß?"]
    with pytest.raises(InputError, match=r"must be UTF-8 text .*options\.encoding"):
        problems(delimiter=";")
    with pytest.raises(InputError, match="encoding must be one that Python knows, got 'none'"):
        problems(delimiter=";", encoding="none")
    with pytest.raises(InputError, match="csv reader"):
        problems(delimiter=";;")
    with pytest.raises(InputError, match="csv reader"):
        problems(seperator=";")
