"""What a run's listener prints and logs of each sealed stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import LakeConfig, ProblemsConfig, RunConfig, SourceConfig
from pipelines.lake.location import Location
from pipelines.lake.seal import Seal
from pipelines.lake.snapshot import TableSnapshot
from pipelines.runs.run_listener import RunListener
from pipelines.runs.tracking import Ending, Metrics, Rows, SilentTracker, SourceTable
from pipelines.runtime.progress import SilentProgress
from tests import factories
from tests.lake_fixture import write_lake


class RecordingTracker(SilentTracker):
    """Keeps what it is asked to log."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, Metrics, Sequence[SourceTable], Rows]] = []

    def log_iteration(
        self, iteration: int, metrics: Metrics, inputs: Sequence[SourceTable], history: Rows
    ) -> None:
        self.logged.append((iteration, metrics, inputs, history))


class Lines(SilentProgress):
    """Keeps the lines that are printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake"))


def log(
    folder: Path, table: str, iteration: int, *, repeated: bool = False, **seal: Any
) -> tuple[RecordingTracker, Lines]:
    """Notify a listener of one sealed stage of the run `first`."""
    tracker, progress = RecordingTracker(), Lines()
    sources = (SourceConfig(kind="jsonl", location="x.jsonl"),)
    config = RunConfig(
        name="first",
        output=folder,
        lake=LakeConfig(uri=str(folder)),
        problems=ProblemsConfig(sources=sources),
    )
    made = factories.table_named(table)
    snapshot = TableSnapshot(made, Location(str(folder)), "first", iteration, version=0)
    row = {"iteration": iteration, "table_name": table, "version": 0, "inputs": "[]", **seal}
    (stored,) = factories.rows(factories.table_named("stages"), row)
    RunListener(config, tracker, progress).stage_sealed(
        Seal.from_row(stored), snapshot, repeated=repeated
    )
    return tracker, progress


def test_the_measures_of_any_stage_are_logged_with_its_seconds_and_table(folder: Path) -> None:
    measures = '{"duplicates_left_out": 3}'
    tracker, _ = log(folder, "problems", 0, stage="ingest", seconds=2.5, measures=measures)
    ((iteration, metrics, inputs, history),) = tracker.logged
    assert (iteration, list(history)) == (0, [])
    assert metrics == {"seconds/ingest": 2.5, "ingest/duplicates_left_out": 3.0}
    assert inputs == [SourceTable("problems", f"{folder}/problems", 0, "ingest")]


def test_evaluations_are_logged_by_suite_and_metric(folder: Path) -> None:
    tracker, _ = log(folder, "evaluations", 2, stage="evaluate")
    metrics = tracker.logged[0][1]
    assert metrics["test/greedy_accuracy"] == 0.75
    assert metrics["train/pass_at_1"] == 0.75


def test_selections_are_logged_as_rows_and_accepted_share(folder: Path) -> None:
    tracker, _ = log(folder, "selections", 1, stage="select")
    metrics = tracker.logged[0][1]
    # Each of 4 problems has 4 samples, of which 1 is correct and kept.
    assert metrics["training_set/rows"] == 4.0
    assert metrics["training_set/accepted_share"] == 0.25


@pytest.mark.parametrize(("iteration", "epochs"), [(0, []), (1, [1])])
def test_a_fine_tuned_policys_epochs_are_logged(
    folder: Path, iteration: int, epochs: list[int]
) -> None:
    tracker, _ = log(folder, "policies", iteration, stage="any")
    assert [epoch["epoch"] for epoch in tracker.logged[0][3]] == epochs


def test_the_reward_on_d_val_of_a_policy_is_a_figure_of_its_iteration(folder: Path) -> None:
    tracker, _ = log(folder, "policies", 1, stage="improve")
    assert tracker.logged[0][1]["policy/validation_reward"] == 0.25


def test_a_run_that_was_not_opened_is_not_closed(folder: Path) -> None:
    stopped: list[str] = []

    class Stopping(RecordingTracker):
        def stop(self, ending: Ending, reason: str) -> None:
            stopped.append(reason)

    sources = (SourceConfig(kind="jsonl", location="x.jsonl"),)
    config = RunConfig(name="r", problems=ProblemsConfig(sources=sources))
    listener = RunListener(config, Stopping(), Lines())
    listener.stop(Ending.FAILED, "before")
    listener.mlflow_run_id()
    listener.stop(Ending.FAILED, "after")
    assert stopped == ["after"]


def test_a_stage_that_was_sealed_before_is_logged_and_not_printed(folder: Path) -> None:
    _, printed = log(folder, "problems", 0, stage="ingest", rows=8, seconds=2.0)
    assert printed.lines == ["iteration 0  ingest              8 rows     2.0 s"]
    tracker, printed = log(folder, "problems", 0, repeated=True)
    assert len(tracker.logged) == 1
    assert printed.lines == []
