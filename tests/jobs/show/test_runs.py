"""`restem runs`: what it prints, what it asks, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from jobs.cli import app
from jobs.show import runs
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from tests.lake_fixture import write_lake


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return write_lake(tmp_path / "lake")


def call(lake: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["runs", *arguments], env={"RESTEM_LAKE": str(lake)})


def names(lake: Path) -> list[str]:
    return LakeReader(Location(str(lake))).runs()


def test_runs_are_listed_with_state_result_and_size(lake: Path) -> None:
    listed = call(lake)
    assert listed.exit_code == 0, listed.output
    assert listed.output == call(lake, "list").output
    first, second = listed.output.splitlines()[2:]
    words = ["first", "2026-01-01", "finished", "2/2", "smollm2-135m-instruct", "0.750", "238"]
    assert first.split()[:-2] == words
    assert second.split()[2:4] == ["evaluate@2", "2/2"]
    assert first.split()[-1] == "kB"


def test_the_list_fits_80_columns(
    lake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "console", lambda: Console(width=80, highlight=False, markup=False))
    reader = LakeReader(Location(str(lake)))
    runs.fork_run(reader, "first", "a-name-of-thirty-characters-ab", "select@1", ())
    capsys.readouterr()
    runs.list_runs(reader)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6  # the lake, a header of two lines, three runs
    assert max(map(len, lines[1:])) <= 80
    assert lines[-1].startswith("a-name-of-th")
    assert "select@1" in lines[-1]


def test_a_fork_is_made_by_the_command_that_is_printed_when_it_was_made(lake: Path) -> None:
    command = ["fork", "first", "new", "--from", "select@1", "--set", "curate.cutoff=5"]
    made = call(lake, *command)
    assert made.exit_code == 0, made.output
    assert "took 6 sealed stages of run first; select@1 is its first own" in made.output
    assert "curate.cutoff: 10 -> 5" in made.output
    assert "restem run CONFIG --name new --set curate.cutoff=5" in made.output
    assert "is this fork already" in call(lake, *command).output


def test_a_run_is_deleted_only_when_the_user_says_so(lake: Path) -> None:
    asked = call(lake, "delete", "first")
    assert asked.exit_code == 2
    assert "238 rows" in asked.stdout
    assert "--yes deletes it" in asked.stderr
    assert names(lake) == ["first", "second"]
    done = call(lake, "delete", "first", "--yes")
    assert done.exit_code == 0, done.output
    assert "restem vacuum --remove" in done.output
    assert names(lake) == ["second"]


def test_a_renamed_run_is_found_under_its_new_name(lake: Path) -> None:
    done = call(lake, "rename", "first", "third")
    assert done.exit_code == 0, done.output
    assert set(names(lake)) == {"third", "second"}
    assert "finished" in call(lake).output
    assert "has the name third already" in call(lake, "rename", "first", "third").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fork", "frist", "new", "--from", "select@1"], "did you mean 'first'?"),
        (["rename", "frist", "new"], "did you mean 'first'?"),
        (["delete", "frist", "--yes"], "did you mean 'first'?"),
        (["fork", "first", "second", "--from", "select@1"], "run 'second' exists"),
        (["rename", "first", "second"], "run 'second' exists"),
        (["rename", "first", "a/b"], "name String should match pattern"),
        (["fork", "first", "new", "--from", "select"], "it has it in 1, 2"),
        (["fork", "first", "new", "--from", "select@1,curate@1"], "--from must be one stage"),
        (["fork", "first", "new", "--from", "select@1", "--set", "name=x"], "--set name: a fork"),
        (
            ["fork", "second", "new", "--from", "select@1", "--set", "sampling.top_k=3"],
            "decides render@0 first, which would be taken from run 'second'; use --from render@0",
        ),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    lake: Path, arguments: list[str], said: str
) -> None:
    before = sorted(lake.rglob("*"))
    result = call(lake, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(lake.rglob("*")) == before
