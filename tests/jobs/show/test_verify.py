"""`restem verify`: files and streams, exit codes, and an output that is complete or absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from jobs.cli import app

ROWS = [
    {"id": 7, "reference": "12", "solution": "The answer is 12."},
    {"id": "b", "reference": "12", "solution": "#### 13"},
]
SAMPLES = "python:tests.pipelines.rewards.sample_rewards"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def call(*arguments: object, given: str | None = None) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)], input=given)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(text: str) -> list[tuple[object, str]]:
    return [(row["id"], row["verdict"]) for row in map(json.loads, text.splitlines())]


def test_a_file_is_scored_into_another(source: Path) -> None:
    target = source.parent / "out.jsonl"
    target.write_text("from an earlier call")
    result = call("math_answer", source, target)
    assert result.exit_code == 0, result.output
    assert rows(target.read_text()) == [(7, "correct"), ("b", "wrong")]
    assert f"2 verdicts in {target}: 1 correct, 1 wrong" in result.stderr
    assert result.stdout == ""
    assert names(source.parent) == ["in.jsonl", "out.jsonl"]


def test_standard_output_holds_only_rows(source: Path) -> None:
    result = call("math_answer", "-", "-", given=source.read_text())
    assert rows(result.stdout) == [(7, "correct"), ("b", "wrong")]


def test_options_and_timeout_reach_the_reward(source: Path) -> None:
    result = call("math_answer", source, "-", "--option", "extract=[hash]")
    assert rows(result.stdout) == [(7, "no_answer"), ("b", "wrong")]
    given = json.dumps({"id": 1, "reference": "", "solution": "loop"})
    result = call(f"{SAMPLES}:obeys", "-", "-", "--timeout", "0.5", given=given)
    assert rows(result.stdout) == [(1, "timeout")]


def test_a_bad_row_leaves_the_output_unchanged(source: Path) -> None:
    target = source.parent / "out.jsonl"
    target.write_text("from an earlier call")
    with source.open("a") as file:
        file.write('{"id": 9, "solution": "12"}\n')
    result = call("math_answer", source, target)
    assert result.exit_code == 2
    assert f"{source}: line 3: reference is required; add it" in result.stderr
    assert target.read_text() == "from an earlier call"
    assert names(source.parent) == ["in.jsonl", "out.jsonl"]


def test_a_device_is_written_to_and_not_replaced(source: Path) -> None:
    result = call("math_answer", source, "/dev/null")
    assert result.exit_code == 0, result.output
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["maths", "{source}", "-"], "reward.function must be math_answer"),
        (["math_answer", "{source}", "-", "--option", "extract"], "--option must be KEY=VALUE"),
        (["math_answer", "{source}", "-", "--option", "extract=[x]"], "must name only boxed"),
        (["math_answer", "{source}", "-", "--option", "extract={"], "the value is not YAML"),
        (["math_answer", "{source}", "-", "--timeout", "0"], "timeout_seconds must be greater"),
        (["math_answer", "none.jsonl", "-"], "INPUT: cannot read none.jsonl (No such file"),
        (["math_answer", "{source}", "no/folder/out"], "OUTPUT: cannot write no/folder/out"),
        (["math_answer", "{source}", "."], "OUTPUT: cannot write . (Is a directory)"),
        (["math_answer", "{source}", "{source}"], "OUTPUT must be another file than INPUT"),
    ],
)
def test_unusable_arguments_are_refused(source: Path, arguments: list[str], message: str) -> None:
    before = source.read_text()
    result = call(*(argument.replace("{source}", str(source)) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert source.read_text() == before
    assert names(source.parent) == ["in.jsonl"]


def test_a_row_and_the_screen_say_why_the_reward_failed(tmp_path: Path) -> None:
    given = "".join(
        json.dumps({"id": n, "reference": "", "solution": text}) + "\n"
        for n, text in enumerate(["raise no luck", "raise no luck", "obey"])
    )
    target = tmp_path / "out.jsonl"
    result = call(f"{SAMPLES}:obeys", "-", target, given=given)
    why = "raised RuntimeError: no luck (sample_rewards.py, line 50)"
    assert result.exit_code == 0
    details = [json.loads(line)["detail"] for line in target.read_text().splitlines()]
    assert details == [why, why, None]
    assert f"2 rows: {why}" in result.stderr


def test_a_reward_that_fails_on_every_row_is_an_error(tmp_path: Path) -> None:
    given = json.dumps({"id": 1, "reference": "", "solution": "raise no luck"})
    target = tmp_path / "out.jsonl"
    result = call(f"{SAMPLES}:obeys", "-", target, given=given)
    assert result.exit_code == 2
    assert "the reward failed on all 1 rows" in result.stderr
    assert "line 50" in result.stderr
    assert rows(target.read_text()) == [(1, "error")]
