"""Scoring a file with any reward: verdicts in order, bad rows named, no partial output."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

import pipelines.scoring.score_file as scoring
from pipelines.config import RewardConfig
from pipelines.errors import InputError
from pipelines.runtime.progress import SilentProgress
from pipelines.scoring.score_file import count_rows, read_row, score_file

SAMPLES = "python:tests.pipelines.rewards.sample_rewards"


def scored(rows: list[dict[str, Any]], **reward: Any) -> list[dict[str, Any]]:
    target = io.StringIO()
    lines = _file(*map(json.dumps, rows))
    score_file(RewardConfig(**reward), lines, target, SilentProgress(), "in")
    return [json.loads(line) for line in target.getvalue().splitlines()]


def _file(*lines: str) -> io.BytesIO:
    return io.BytesIO("\n".join(lines).encode())


def row(number: int | str, solution: str, reference: Any = "12") -> dict[str, Any]:
    return {"id": number, "reference": reference, "solution": solution}


def test_every_row_gets_a_verdict_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "ROWS_AT_ONCE", 3)
    rows = [row(n, f"So \\boxed{{{n}}}") for n in range(11, 18)] + [row("last", "I give up")]
    found = scored(rows)
    assert [line["id"] for line in found] == [*range(11, 18), "last"]
    assert [line["verdict"] for line in found] == [
        "wrong", "correct", *["wrong"] * 5, "no_answer",
    ]  # fmt: skip
    assert [line["reward"] for line in found][:2] == [0.0, 1.0]
    assert [line["extracted"] for line in found][-2:] == ["17", None]
    assert set(found[0]) == {"id", "reward", "verdict", "extracted", "detail", "milliseconds"}
    assert all(line["milliseconds"] >= 0 for line in found)


def test_a_row_with_a_question_is_scored_with_it() -> None:
    echo = row(1, r"\boxed{(x+1)^2}", "x^2+2x+1")
    with_question = {**echo, "id": 2, "question": "Expand $(x+1)^2$."}
    assert [line["verdict"] for line in scored([echo, with_question])] == ["correct", "wrong"]


def test_a_users_reward_gets_its_options_and_its_deadline() -> None:
    found = scored(
        [row(1, "red green", "red blue")],
        function=f"{SAMPLES}:share_of_words",
        options={"scale": 10},
    )
    assert (found[0]["reward"], found[0]["verdict"]) == (5.0, "correct")
    slow = [row(1, "loop"), row(2, "12")]
    found = scored(slow, function=f"{SAMPLES}:obeys", timeout_seconds=0.5)
    assert [line["verdict"] for line in found] == ["timeout", "correct"]


def test_a_reference_object_becomes_text_with_sorted_keys() -> None:
    reference = {"outputs": ["2"], "inputs": ["é"], "more": {"b": 1, "a": None}}
    text = '{"inputs": ["é"], "more": {"a": null, "b": 1}, "outputs": ["2"]}'
    assert read_row(json.dumps(row(1, "x", reference)).encode()).reference == text
    found = scored([row(1, text, reference)], function=f"{SAMPLES}:same_text")
    assert found[0]["verdict"] == "correct"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"must be a JSON object, cannot be read \(Expecting property name"),
        ("[1]", r"must be a JSON object, got \[1\]"),
        ('{"id": 1, "reference": "1"}', "solution is required; add it"),
        ('{"id": null, "reference": "1", "solution": ""}', "id must be .*, got null"),
        ('{"id": "", "reference": "1", "solution": ""}', 'id must be .*, got ""'),
        ('{"id": 1.5, "reference": "1", "solution": ""}', "id must be .*, got 1.5"),
        ('{"id": 1, "reference": 5, "solution": ""}', 'got 5; write it in quotes, "5"'),
        ('{"id": 1, "reference": [], "solution": ""}', r"text or an object, got \[\]$"),
        ('{"id": 1, "reference": {"a": NaN}, "solution": ""}', "NaN is not JSON"),
        ('{"id": 1, "reference": "1", "solution": ["a"]}', r'solution must be a text, got \["a"\]'),
        ("[" * 100_000, "must be a JSON object, cannot be read"),
    ],
)
def test_a_bad_row_is_refused_with_the_rule_it_breaks(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_row(line.encode())


def test_text_that_is_not_utf_8_is_a_bad_row() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_row(b'{"id": 1, "reference": "1", "solution": "\xff"}')


def test_bad_rows_are_named_by_line_and_nothing_is_scored() -> None:
    lines = [json.dumps(row(1, "1")), "", "x", json.dumps(row(1, "2")), json.dumps(row("1", "2"))]
    target = io.StringIO()
    with pytest.raises(InputError) as refused:
        score_file(RewardConfig(), _file(*lines), target, SilentProgress(), "in.jsonl")
    assert str(refused.value).splitlines() == [
        "in.jsonl: line 3: must be a JSON object, cannot be read "
        "(Expecting value: line 1 column 1 (char 0))",
        "in.jsonl: line 4: id must be the row's own, but line 1 has 1 too",
        "nothing was scored; correct the file",
    ]
    assert target.getvalue() == ""


def test_bad_rows_beyond_the_first_twenty_are_counted() -> None:
    with pytest.raises(InputError, match=r"line 20: .*\n\.\.\. and 5 more bad lines\n"):
        count_rows(_file(*["x"] * 25), "in.jsonl")


def test_half_of_a_surrogate_pair_is_written_unchanged() -> None:
    found = scored([row("\ud800", r"\boxed{\ud800}")])
    assert found[0]["id"] == "\ud800"


def test_a_file_without_rows_gives_no_verdicts() -> None:
    assert scored([]) == []


def test_rows_are_read_in_pieces() -> None:
    assert [len(piece) for piece in scoring._pieces(_file(*_many(4_500)))] == [2_000, 2_000, 500]


def _many(count: int) -> list[str]:
    return [json.dumps(row(n, "12")) for n in range(count)]
