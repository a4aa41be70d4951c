"""`restem rescore`: what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from jobs.cli import app
from jobs.show.console import console
from jobs.show.rescore import show_rescored
from pipelines.runs.rescore import Change, Rescored, TrainingSetChange
from tests.pipelines.scored_run import LENIENT, ScoredRun


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScoredRun:
    made = ScoredRun(tmp_path, monkeypatch)
    made.score()
    return made


def call(run: ScoredRun, *arguments: str) -> Result:
    lake = str(run.folder / "lake")
    environment = {"COLUMNS": "120", "NO_COLOR": "1"}
    given = ["rescore", *arguments, "--lake", lake]
    return CliRunner().invoke(app, given, env=environment)


def test_a_dry_run_shows_the_changes_and_commits_nothing(run: ScoredRun) -> None:
    run.write_reward(LENIENT)
    before = run.reader.version("rewards")
    result = call(run, "r", "--dry-run", "--trust")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert ["wrong", "correct", "2"] in lines
    assert ["correct", "wrong", "1"] in lines
    assert ["problem", "What", "is", "2", "+", "2?"] in lines
    assert "training set of iteration 1: none was selected" in result.output
    assert "Nothing was written: --dry-run." in result.output
    assert run.reader.version("rewards") == before


@pytest.mark.slow  # the expectations' library takes seconds to import
def test_new_verdicts_pass_the_gate_and_are_committed(run: ScoredRun) -> None:
    run.write_reward(LENIENT)
    before = run.reader.version("rewards")
    result = call(run, "r", "--trust")
    assert result.exit_code == 0, result.output
    assert f"rewards version {before} -> version {run.reader.version('rewards')}" in result.output
    checks = run.reader.rows("SELECT * FROM checks WHERE table_name = 'rewards' AND engine <> ''")
    assert checks
    assert all(check["passed"] for check in checks)
    assert run.reader.rows("SELECT mlflow_run_id FROM stages WHERE attempt = 2") == [
        {"mlflow_run_id": "mlflow-1"}
    ]
    assert "nothing to do" in call(run, "r", "--trust").output


def test_a_run_that_is_not_there_is_refused(run: ScoredRun) -> None:
    result = call(run, "s")
    assert result.exit_code == 2
    assert "no run 's'" in result.stderr
    assert "runs: r" in result.stderr


def test_a_reward_that_has_gone_is_the_users_error(run: ScoredRun) -> None:
    run.write_reward("def another(solution, reference):\n    return 1.0\n")
    before = run.reader.version("rewards")
    result = call(run, "r", "--trust")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert run.reader.version("rewards") == before


@pytest.mark.parametrize("arguments", [("r",), ("r", "--dry-run")])
def test_code_that_only_the_lake_names_does_not_run(
    run: ScoredRun, arguments: tuple[str, ...]
) -> None:
    mark = run.folder / "ran"
    run.write_reward(f"open({str(mark)!r}, 'w').close()\n{LENIENT}")
    before = run.reader.version("rewards")
    result = call(run, *arguments)
    assert result.exit_code == 2
    assert f"reward: function {run.config.reward.function}" in result.stderr
    assert "--trust" in result.stderr
    assert not mark.exists()
    assert run.reader.version("rewards") == before

    other = run.folder / "other.yaml"
    other.write_text(yaml.safe_dump(own_tree("python:another:reward")), encoding="utf-8")
    assert call(run, *arguments, "--config", str(other)).exit_code == 2
    assert not mark.exists()


def test_code_that_the_users_configuration_names_runs(run: ScoredRun) -> None:
    run.write_reward(LENIENT)
    mine = run.folder / "mine.yaml"
    mine.write_text(yaml.safe_dump(own_tree(run.config.reward.function)), encoding="utf-8")
    result = call(run, "r", "--dry-run", "--config", str(mine))
    assert result.exit_code == 0, result.output
    assert "Nothing was written" in result.output


def own_tree(function: str) -> dict[str, object]:
    """A configuration of the user's own."""
    sources = [{"kind": "jsonl", "location": "y.jsonl"}]
    return {"name": "mine", "problems": {"sources": sources}, "reward": {"function": function}}


def test_rows_that_would_enter_or_leave_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"sample_id": "s1", "problem_id": "p", "solution": "x" * 300 + "\nThe answer is 2."}
    leaving = [{**row, "sample_id": f"s{n}"} for n in range(2, 7)]
    example = {**row, "question": "What?", "reference": "2", "extracted_before": None}
    done = Rescored(
        iteration=0,
        num_samples=1_000,
        versions_before=["1"],
        version="2",
        table_before=7,
        table_after=9,
        changes=[Change("no_answer", "correct", 12, [{**example, "extracted_after": "2"}])],
        training_set=TrainingSetChange(1, 40, [row], leaving, 3),
    )
    show_rescored(console(), done)
    said = capsys.readouterr().out
    assert "verifier version 1 -> 2" in said
    assert "rewards version 7 -> version 9" in said
    assert "extracted  None -> '2'" in said
    assert "40 rows: 1 would enter, 5 would leave, 3 would stay with another reward" in said
    assert "+ s1  ...xxx" in said
    assert "⏎The answer is 2." in said
    assert "- ... 2 more" in said
    assert "policy 1 stay as they are" in said
