"""Stored samples are judged again exactly once, and what was made from them stays as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipelines.errors import ExpectationsFailed, LakeError
from pipelines.results.lineage import trace_lineage
from pipelines.runs.rescore import moved_verdicts
from schemas import REWARDS, SAMPLES, SELECTIONS
from tests.factories import arrow
from tests.pipelines.scored_run import LENIENT, STRICT, ScoredRun

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BY_STRICT = {"s0": "correct", "s1": "wrong", "s2": "wrong", "s3": "wrong", "s4": "correct", "s5": "wrong"}  # fmt: skip
BY_LENIENT = {"s0": "correct", "s1": "correct", "s2": "wrong", "s3": "correct", "s4": "wrong", "s5": "wrong"}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScoredRun:
    made = ScoredRun(tmp_path, monkeypatch)
    made.score()
    return made


def verdicts(run: ScoredRun, table: str = "rewards", version: int | None = None) -> dict[str, str]:
    read = run.reader.arrow(table, run="r", version=version, columns=["sample_id", "verdict"])
    rows = read.to_pylist()
    assert len({row["sample_id"] for row in rows}) == len(rows)
    return {row["sample_id"]: row["verdict"] for row in rows}


def test_the_verdicts_that_changed_are_counted_and_shown(run: ScoredRun) -> None:
    run.write_reward(LENIENT)
    (done,) = run.rescore(dry_run=True)
    assert done.num_samples == 6
    assert [(c.before, c.after, c.count) for c in done.changes] == [
        ("wrong", "correct", 2),
        ("correct", "wrong", 1),
    ]
    (example,) = done.changes[1].examples
    assert example == {
        "sample_id": "s4",
        "question": "What is 2 + 2?",
        "reference": "4",
        "solution": "4",
        "extracted_before": None,
        "extracted_after": None,
    }
    assert done.versions_before != [done.version]
    assert done.training_set is None


def test_a_dry_run_writes_nothing(run: ScoredRun) -> None:
    run.write_reward(LENIENT)
    before = _files(run.folder)
    (done,) = run.rescore(dry_run=True)
    assert done.table_after is None
    assert _files(run.folder) == before


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in (folder / "lake").rglob("*") if path.is_file())


def test_the_new_verdicts_replace_the_old_ones_whose_version_stays_readable(run: ScoredRun) -> None:
    assert verdicts(run) == BY_STRICT
    run.write_reward(LENIENT)
    (done,) = run.rescore()
    assert done.table_after is not None
    assert verdicts(run) == BY_LENIENT
    assert verdicts(run, version=done.table_before) == BY_STRICT
    moved = run.reader.rows(
        "SELECT o.verdict, n.verdict AS now, count(*) AS samples FROM "
        f"rewards_v{done.table_before} o JOIN rewards n USING (run_id, iteration, sample_id) "
        "WHERE o.verdict <> n.verdict GROUP BY 1, 2 ORDER BY 3",
        "r",
    )
    assert [tuple(row.values()) for row in moved] == [
        ("correct", "wrong", 1),
        ("wrong", "correct", 2),
    ]
    seals = run.reader.rows("SELECT * FROM stages WHERE stage = 'score' ORDER BY attempt")
    assert [(seal["attempt"], seal["version"]) for seal in seals] == [
        (1, done.table_before),
        (2, done.table_after),
    ]
    assert json.loads(seals[1]["measures"])["verdict_correct"] == 3
    with run.open() as lake:
        assert lake.sealed(REWARDS, 0, "score") == lake.latest_snapshot(REWARDS, 0)


def test_what_the_present_version_judged_is_not_judged_again(run: ScoredRun) -> None:
    assert run.rescore() == []
    run.write_reward(LENIENT)
    assert len(run.rescore()) == 1
    assert run.rescore() == []
    run.write_reward(STRICT)
    (back,) = run.rescore()
    assert verdicts(run) == BY_STRICT
    assert [(c.before, c.after, c.count) for c in back.changes] == [
        ("correct", "wrong", 2),
        ("wrong", "correct", 1),
    ]


def test_a_suites_samples_are_judged_again_by_the_suites_own_reward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = {
        "name": "words",
        "reward": {"function": "exact_match", "options": {"extract": ["first_line"]}},
    }
    run = ScoredRun(tmp_path, monkeypatch, suite)
    run.score()
    run.write_reward(LENIENT)
    (done,) = run.rescore()
    assert [(c.before, c.after, c.count) for c in done.changes] == [("wrong", "correct", 2)]
    # By the run's new reward s4 would be wrong.
    assert verdicts(run) == {**BY_LENIENT, "s4": "correct"}
    query = "SELECT DISTINCT sample_id, verifier FROM rewards ORDER BY 1"
    judged = [row["verifier"] for row in run.reader.rows(query, "r")]
    assert judged == [run.config.reward.function] * 4 + ["exact_match"] * 2
    seal = run.reader.rows("SELECT * FROM stages WHERE stage = 'score' ORDER BY attempt")[-1]
    measures = json.loads(seal["measures"])
    assert (measures["samples"], measures["verdict_correct"]) == (6, 4)
    assert run.rescore() == []


def test_an_attempt_killed_before_its_seal_is_sealed_and_not_committed_twice(
    run: ScoredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.lake.books import Books

    run.write_reward(LENIENT)
    with monkeypatch.context() as killing:
        killing.setattr(Books, "seal", _killed)
        with pytest.raises(KeyboardInterrupt):
            run.rescore()
    committed = run.reader.version("rewards")
    (done,) = run.rescore()
    assert run.reader.version("rewards") == done.table_after == committed
    assert sum(change.count for change in done.changes) == 3
    assert verdicts(run) == BY_LENIENT


def _killed(*args: Any, **kwargs: Any) -> Any:
    raise KeyboardInterrupt


def test_verdicts_that_break_an_expectation_replace_nothing(run: ScoredRun) -> None:
    before = run.reader.version("rewards")
    run.write_reward("def reward(solution, reference):\n    return None\n")
    with pytest.raises(ExpectationsFailed, match="6 rows are error"):
        run.rescore()
    assert run.reader.version("rewards") == before
    assert verdicts(run) == BY_STRICT


def test_a_run_that_is_not_scored_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ScoredRun(tmp_path, monkeypatch)
    with pytest.raises(LakeError, match="run 'r' has no verdicts yet"):
        run.rescore()


def test_a_training_set_whose_rewards_are_the_same_would_be_the_same(run: ScoredRun) -> None:
    run.keep("s0", "s4")
    run.write_reward(STRICT + "# another version\n")
    (done,) = run.rescore()
    assert done.changes == []
    assert done.training_set is not None
    assert (done.training_set.iteration, done.training_set.kept) == (1, 2)
    assert done.training_set.entering == done.training_set.leaving == []


@pytest.mark.slow
def test_rows_that_would_enter_and_leave_the_training_set_are_named(
    run: ScoredRun, spark: SparkSession
) -> None:
    run.keep("s0", "s4")
    run.write_reward(LENIENT)
    (done,) = run.rescore(spark=lambda: spark)
    change = done.training_set
    assert change is not None
    # Of s0, s1 and s3 the cutoff takes two; s4 is correct no more.
    kept = {"s0", "s4"} - {row["sample_id"] for row in change.leaving}
    kept |= {row["sample_id"] for row in change.entering}
    assert "s4" in {row["sample_id"] for row in change.leaving}
    assert kept < {"s0", "s1", "s3"}
    assert len(kept) == 2
    assert {row["solution"] for row in change.leaving} <= {"2", "4"}
    assert change.reweighted == 0
    with run.open() as lake:
        sealed = lake.sealed(SELECTIONS, 1, "select")
        assert sealed is not None
        assert sealed.count("kept") == 2


def test_readers_show_a_training_row_with_the_verdict_that_selected_it(run: ScoredRun) -> None:
    run.keep("s0", "s4")
    run.write_reward(LENIENT)
    run.score_again()
    assert verdicts(run, "training_rows") == {"s0": "correct", "s4": "correct"}
    assert verdicts(run, "selected_rewards") == BY_STRICT
    assert verdicts(run, "evaluated_rewards") == BY_LENIENT  # not evaluated yet
    assert verdicts(run, "sample_verdicts") == BY_LENIENT


def test_the_lineage_has_both_verdicts_of_a_rescored_sample(run: ScoredRun) -> None:
    run.keep("s0", "s4")
    assert trace_lineage(run.reader, "s4").selected_on == []
    run.write_reward(LENIENT)
    run.score_again()
    lineage = trace_lineage(run.reader, "s4")
    assert [reward["verdict"] for reward in lineage.rewards] == ["wrong"]
    assert [reward["verdict"] for reward in lineage.selected_on] == ["correct"]
    assert lineage.training_row is not None
    score = [(s["attempt"], s["stage"]) for s in lineage.stages if s["stage"] == "score"]
    assert score == [(1, "score"), (2, "score")]


def test_samples_are_not_touched(run: ScoredRun) -> None:
    before = run.reader.version(SAMPLES.name)
    run.write_reward(LENIENT)
    run.rescore()
    assert run.reader.version(SAMPLES.name) == before


def test_a_changed_reward_is_a_change_though_the_verdict_is_the_same() -> None:
    def judged(*rewards: float) -> list[pa.Table]:
        return [
            arrow(REWARDS, {"sample_id": f"s{n}", "reward": reward})
            for n, reward in enumerate(rewards)
        ]

    before = pa.concat_tables(judged(0.0, 1.0, 2.0))
    after = pa.concat_tables(reversed(judged(0.0, 2.0, 2.0)))
    assert [(row["sample_id"], row["reward_before"], row["reward"]) for row in moved_verdicts(before, after)] == [("s1", 1.0, 2.0)]  # fmt: skip
