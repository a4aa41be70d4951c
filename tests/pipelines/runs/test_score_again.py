"""A reward that failed is mended, and the same command goes on: no sample is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import ExpectationsFailed
from tests.pipelines.runs.test_rescore import verdicts
from tests.pipelines.scored_run import STRICT, ScoredRun

RAISES = "def reward(solution, reference):\n    return {}[reference]\n"
HALF = (
    "def reward(solution, reference):\n"
    "    if reference == '4':\n"
    "        raise ValueError('four')\n"
    "    return float(solution == reference)\n"
)
BY_STRICT = {"s0": "correct", "s1": "wrong", "s2": "wrong", "s3": "wrong", "s4": "correct", "s5": "wrong"}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScoredRun:
    return ScoredRun(tmp_path, monkeypatch)


def refused(run: ScoredRun) -> None:
    with pytest.raises(ExpectationsFailed):
        run.score()


def test_verdicts_of_a_reward_that_was_mended_are_made_again(run: ScoredRun) -> None:
    run.write_reward(RAISES)
    refused(run)
    assert set(verdicts(run).values()) == {"error"}
    run.write_reward(STRICT)
    run.score()
    assert verdicts(run) == BY_STRICT


def test_verdicts_of_two_versions_of_a_reward_never_stand_side_by_side(run: ScoredRun) -> None:
    run.write_reward(HALF)
    refused(run)
    run.write_reward(STRICT)
    run.score()
    versions = run.reader.rows("SELECT DISTINCT verifier_version FROM rewards", "r")
    assert len(versions) == 1
    assert verdicts(run) == BY_STRICT


def test_only_the_failures_of_an_unchanged_reward_are_made_again(run: ScoredRun) -> None:
    code = (
        "import pathlib\n"
        "def reward(solution, reference):\n"
        "    with open('calls.txt', 'a') as calls: calls.write('x')\n"
        "    if reference == '4' and not pathlib.Path('mended').exists():\n"
        "        raise ValueError('four')\n"
        "    return float(solution == reference)\n"
    )
    run.write_reward(code)
    refused(run)
    calls = run.folder / "calls.txt"
    calls.unlink()
    (run.folder / "mended").touch()
    run.score()
    assert verdicts(run) == BY_STRICT
    assert len(calls.read_text()) == 2  # the two solutions of problem-2


def test_a_row_says_why_the_checker_failed_with_the_users_line(run: ScoredRun) -> None:
    run.write_reward(HALF)
    refused(run)
    (row,) = run.reader.rows("SELECT DISTINCT detail FROM rewards WHERE verdict = 'error'", "r")
    assert row["detail"].startswith("raised ValueError: four (reward_")
    assert row["detail"].endswith(".py, line 3)")
    assert run.reader.rows("SELECT detail FROM rewards WHERE verdict = 'wrong' LIMIT 1", "r") == [
        {"detail": None}
    ]


def test_a_score_that_is_not_sealed_can_be_rescored(run: ScoredRun) -> None:
    run.write_reward(HALF)
    refused(run)
    run.write_reward(STRICT)
    (done,) = run.rescore(dry_run=True)
    assert [(c.before, c.after, c.count) for c in done.changes] == [
        ("error", "correct", 1),
        ("error", "wrong", 1),
    ]
    assert verdicts(run)["s4"] == "error"
    (done,) = run.rescore()
    assert done.num_samples == 6
    assert verdicts(run) == BY_STRICT
    with run.open() as lake:
        assert lake.is_sealed(0, "score")
    assert run.rescore() == []
