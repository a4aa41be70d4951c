"""What is logged to a real MLflow store, and what happens without one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.config import LakeConfig, MLflowConfig, ProblemsConfig, RunConfig, SourceConfig
from pipelines.errors import MachineError
from pipelines.runs.tracking import (
    Ending,
    MLflowTracker,
    SilentTracker,
    SourceTable,
    stored_tracker,
    tracker_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


def config(folder: Path, uri: str | None = None, **settings: Any) -> RunConfig:
    return RunConfig(
        name="demo",
        output=folder,
        lake=LakeConfig(uri=str(folder / "lake")),
        mlflow=MLflowConfig(tracking_uri=uri or f"sqlite:///{folder}/new/mlflow.db"),
        problems=ProblemsConfig(sources=(SourceConfig(kind="jsonl", location="x.jsonl"),)),
        **settings,
    )


SOURCES = [
    SourceTable("samples", "lake/samples", 4, "generate"),
    SourceTable("rewards", "lake/rewards", 7, "score"),
]
HISTORY = [
    {"epoch": 1, "loss": 0.9, "validation_reward": 0.1, "note": "text"},
    {"epoch": 2, "loss": 0.5, "validation_reward": 0.2, "note": "text"},
]


def client_of(run: RunConfig) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(run.mlflow.tracking_uri)


def log_run(tracker: MLflowTracker) -> tuple[str, str]:
    """Log two iterations; the ids of the run and of its last iteration's nested run."""
    parent = tracker.start()
    for iteration in (0, 1):
        tracker.log_iteration(iteration, {"test/greedy_accuracy": 0.1 + iteration}, SOURCES, [])
    tracker.log_iteration(1, {"seconds/improve": 80.0}, [], HISTORY)
    child = tracker.start_iteration(1)
    assert child is not None
    return parent, child


@pytest.fixture
def quiet_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    yield tmp_path
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.slow
def test_a_run_is_a_parent_with_one_nested_run_per_iteration(quiet_folder: Path) -> None:
    run = config(quiet_folder)
    tracker = MLflowTracker(run)
    parent, child = log_run(tracker)
    picture = quiet_folder / "accuracy.png"
    picture.write_bytes(b"png")
    tracker.log_table("samples", [{"problem": "2 + 2", "best": "4"}])
    (quiet_folder / "report").mkdir()
    (quiet_folder / "report" / "index.html").write_text("<p>", encoding="utf-8")
    tracker.finish([picture, quiet_folder / "report"], "| metric | 0 |")

    client = client_of(run)
    top, nested = client.get_run(parent), client.get_run(child)
    assert top.info.run_name == "demo"
    assert top.info.status == nested.info.status == "FINISHED"
    assert nested.data.tags["mlflow.parentRunId"] == parent
    assert top.data.params["sampling.temperature"] == "0.7"
    history = client.get_metric_history(parent, "test/greedy_accuracy")
    assert [(m.step, m.value) for m in history] == [(0, 0.1), (1, 1.1)]
    losses = client.get_metric_history(child, "improve/loss")
    assert [(m.step, m.value) for m in losses] == [(1, 0.9), (2, 0.5)]
    assert nested.data.tags["version/samples"] == "4"
    inputs = {i.dataset.name: i for i in nested.inputs.dataset_inputs}
    assert inputs["samples"].dataset.digest == "v4"
    assert json.loads(inputs["rewards"].dataset.source) == {
        "path": "lake/rewards",
        "delta_table_version": 7,
    }
    files = {file.path for file in client.list_artifacts(parent)}
    assert files == {"config.json", "accuracy.png", "samples.json", "report"}
    assert [f.path for f in client.list_artifacts(parent, "report")] == ["report/index.html"]
    assert top.data.tags["mlflow.note.content"] == "| metric | 0 |"
    assert (quiet_folder / "new" / "mlflow-artifacts").is_dir()


@pytest.mark.slow
def test_the_parent_has_the_problems_and_the_training_sets_as_data_sets(quiet_folder: Path) -> None:
    run = config(quiet_folder)
    tracker = MLflowTracker(run)
    parent = tracker.start()
    tracker.log_iteration(0, {}, [SourceTable("problems", "lake/problems", 1, "ingest")], [])
    for iteration in (1, 2):
        curated = SourceTable("training_set", "lake/training_set", iteration, "curate")
        for _ in range(2):  # logged again by the next start
            tracker.log_iteration(iteration, {}, [curated, *SOURCES], [])
    logged = client_of(run).get_run(parent).inputs.dataset_inputs
    assert sorted((i.dataset.name, i.dataset.digest) for i in logged) == [
        ("problems", "v1"),
        ("training_set", "v1"),
        ("training_set", "v2"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "custom_model_development"),
        ("genai_development_inferred", "custom_model_development"),
        ("finetuning", "finetuning"),
    ],
)
def test_an_experiment_is_shown_as_model_training_unless_someone_chose_another_kind(
    quiet_folder: Path, before: str | None, after: str
) -> None:
    run = config(quiet_folder)
    MLflowTracker(run).start()
    client = client_of(run)
    made = client.get_experiment_by_name("restem")
    assert made.tags["mlflow.experimentKind"] == "custom_model_development"
    if before is None:
        client.delete_experiment_tag(made.experiment_id, "mlflow.experimentKind")
    else:
        client.set_experiment_tag(made.experiment_id, "mlflow.experimentKind", before)
    MLflowTracker(run).start()
    kind = client.get_experiment(made.experiment_id).tags["mlflow.experimentKind"]
    assert kind == after


@pytest.mark.slow
def test_a_second_start_goes_on_in_the_same_runs(quiet_folder: Path) -> None:
    run = config(quiet_folder)
    first, second = MLflowTracker(run), MLflowTracker(run)
    assert log_run(first) == log_run(second)
    second.finish()
    client = client_of(run)
    experiment = client.get_experiment_by_name("restem")
    assert len(client.search_runs([experiment.experiment_id])) == 3
    parent, child = log_run(first)
    assert len(client.get_metric_history(parent, "test/greedy_accuracy")) == 2
    assert len(client.get_metric_history(child, "improve/loss")) == 2

    other = config(quiet_folder, seed=1)
    assert MLflowTracker(other).start() != first.start()


@pytest.mark.slow
@pytest.mark.parametrize("ending", list(Ending))
def test_a_start_that_does_not_complete_the_run_closes_it_with_the_reason(
    quiet_folder: Path, ending: Ending
) -> None:
    run = config(quiet_folder)
    tracker = MLflowTracker(run)
    parent, child = log_run(tracker)
    tracker.stop(ending, "disk full")
    client = client_of(run)
    assert client.get_run(parent).info.status == ending.value
    assert client.get_run(child).info.status == ending.value
    assert client.get_run(parent).data.tags["restem.ended"] == "disk full"

    again = MLflowTracker(run)
    assert log_run(again) == (parent, child)
    assert client.get_run(parent).info.status == "RUNNING"
    again.finish()
    assert client.get_run(parent).info.status == "FINISHED"
    assert client.get_run(child).info.status == "FINISHED"
    assert client.get_run(parent).data.tags["restem.ended"] == "complete"


@pytest.mark.slow
def test_a_start_that_died_without_a_word_is_closed_by_the_next_one(quiet_folder: Path) -> None:
    run = config(quiet_folder)
    parent, child = log_run(MLflowTracker(run))
    next_one = MLflowTracker(run)
    assert next_one.start() == parent
    client = client_of(run)
    assert client.get_run(child).info.status == "KILLED"
    assert "without a word" in client.get_run(parent).data.tags["restem.ended"]
    assert client.get_run(parent).info.status == "RUNNING"


@pytest.mark.slow
def test_an_unreachable_server_stops_the_start_with_one_line(tmp_path: Path) -> None:
    run = config(tmp_path, "http://me:planted-4f1c@127.0.0.1:1")
    with pytest.raises(MachineError) as caught:
        MLflowTracker(run).start()
    text = str(caught.value)
    assert text.startswith("mlflow.tracking_uri: cannot use http://127.0.0.1:1: no server answers")
    assert "--set mlflow.enabled=false" in text
    assert "planted" not in text
    assert "\n" not in text


@pytest.mark.slow
def test_a_store_that_fails_later_costs_a_warning_and_not_the_run(tmp_path: Path) -> None:
    run = config(tmp_path)
    warnings: list[str] = []
    tracker = MLflowTracker(run, warnings.append)
    tracker.start()
    (tmp_path / "new" / "mlflow.db").write_bytes(b"this is no database" * 1000)

    tracker.log_iteration(0, {"test/greedy_accuracy": 0.1}, SOURCES, [])
    tracker.finish([tmp_path / "missing.png"])
    assert len(warnings) == 3
    assert warnings[0].startswith("mlflow: iteration 0 has no run there (sqlite:///")
    assert all("the work in the lake goes on" in line and "\n" not in line for line in warnings)


def test_without_mlflow_nothing_is_logged(tmp_path: Path) -> None:
    run = config(tmp_path).model_copy(update={"mlflow": MLflowConfig(enabled=False)})
    tracker = tracker_of(run)
    assert isinstance(tracker, SilentTracker)
    tracker.warm_up()
    tracker.start()
    tracker.log_iteration(0, {}, [], [])
    tracker.finish()
    assert not list(tmp_path.iterdir())


def test_a_lake_whose_path_has_quotes_is_found_again(quiet_folder: Path) -> None:
    for name in ("the user's", 'a "quoted" user\'s'):
        folder = quiet_folder / name
        folder.mkdir()
        run = config(folder, f"sqlite:///{quiet_folder}/mlflow.db")
        first = MLflowTracker(run).start()
        assert MLflowTracker(run).start() == first


@pytest.mark.slow
def test_runs_that_start_together_on_a_fresh_folder_all_begin(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from tests.pipelines.runs.test_tracking import config\n"
        "from pipelines.runs.tracking import MLflowTracker\n"
        "run = config(Path(sys.argv[1])).model_copy(update={'name': sys.argv[2]})\n"
        "tracker = MLflowTracker(run)\ntracker.warm_up()\nprint(tracker.start())\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b", "c")
    ]
    told = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], told
    assert len({out for out, _ in told}) == 3


@pytest.mark.slow
def test_a_stored_run_is_renamed_with_its_ids_and_marked_as_deleted(tmp_path: Path) -> None:
    run = config(tmp_path)
    parent, child = log_run(MLflowTracker(run))
    warnings: list[str] = []
    tracker = stored_tracker(run, warnings.append)
    assert tracker is not None
    tracker.rename(parent, "other")
    client = client_of(run)
    names = [client.get_run(one).info.run_name for one in (parent, child)]
    assert names == ["other", "other iteration 1"]
    renamed = MLflowTracker(run.model_copy(update={"name": "other"}))
    assert renamed.start() == parent
    for _ in range(2):
        tracker.delete(parent)
        found = [client.get_run(one).info.lifecycle_stage for one in (parent, child)]
        assert found == ["deleted", "deleted"]
    assert MLflowTracker(run.model_copy(update={"name": "other"})).start() != parent
    tracker.rename("no such run", "other")
    assert len(warnings) == 1
    assert "its run keeps the old name there" in warnings[0]


def test_a_store_that_is_not_here_is_not_made(tmp_path: Path) -> None:
    warnings: list[str] = []
    assert stored_tracker(config(tmp_path), warnings.append) is None
    assert "there is no sqlite:///" in warnings[0]
    assert list(tmp_path.iterdir()) == []
