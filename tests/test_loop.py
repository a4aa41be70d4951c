"""The whole loop through the command line, every part real, on a tiny random model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.checkpoints.policy import policy_id_of
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from tests.pipelines.results.test_commands import pasted
from tests.tiny_loop import restem, write_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("loop")
    code, printed = restem("run", str(write_project(folder)))
    assert code == 0, printed
    return folder, printed


def rows(folder: Path, query: str) -> list[dict[str, Any]]:
    reader = LakeReader(Location(str(folder / "lake")))
    return reader.sql(query).to_pylist()


def test_every_prompt_has_its_samples_and_every_sample_its_verdict(
    project: tuple[Path, str],
) -> None:
    folder, _ = project
    (asked,) = rows(folder, "SELECT sum(num_samples) AS n FROM prompts")
    (drawn,) = rows(folder, "SELECT count(*) AS n, count(DISTINCT sample_id) AS ids FROM samples")
    (judged,) = rows(
        folder,
        "SELECT count(*) AS n FROM samples s JOIN rewards r ON s.sample_id = r.sample_id "
        "AND s.iteration = r.iteration",
    )
    # Two E-steps of 24 problems x 4, and for three policies 6 + 12 greedy and 12 x 4 for pass@k.
    assert asked["n"] == 2 * 24 * 4 + 3 * (6 + 12 + 12 * 4)
    assert drawn == {"n": asked["n"], "ids": asked["n"]}
    assert judged["n"] == asked["n"]


def test_each_iteration_trains_on_rewarded_distinct_solutions_of_the_last_policy(
    project: tuple[Path, str],
) -> None:
    folder, _ = project
    kept = rows(
        folder,
        "SELECT t.iteration, count(*) AS n, min(t.reward) AS reward, "
        "max(abs(t.iteration - 1 - s.iteration)) AS apart FROM training_set t "
        "JOIN samples s ON t.sample_id = s.sample_id GROUP BY t.iteration ORDER BY 1",
    )
    assert [row["iteration"] for row in kept] == [1, 2]
    assert all(row["n"] > 0 and row["reward"] > 0 and row["apart"] == 0 for row in kept)
    most = rows(
        folder,
        "SELECT max(n) AS n FROM (SELECT count(*) AS n FROM training_set "
        "GROUP BY iteration, problem_id)",
    )
    assert most[0]["n"] <= 3


def test_every_policy_starts_from_the_base_model(project: tuple[Path, str]) -> None:
    folder, _ = project
    policies = rows(folder, "SELECT * FROM policies ORDER BY iteration")
    base = policies[0]["policy_id"]
    assert [row["started_from"] for row in policies] == [None, base, base]
    assert len({row["policy_id"] for row in policies}) == 3
    for row in policies[1:]:
        assert row["checkpoint_uri"] == str(folder / "lake" / "_policies" / row["policy_id"])
        assert policy_id_of(Path(row["checkpoint_uri"])) == row["policy_id"]
        assert len(json.loads(row["history"])) >= 1


def test_every_policy_is_evaluated(project: tuple[Path, str]) -> None:
    folder, _ = project
    metrics = rows(
        folder,
        "SELECT iteration, metric, n, ci_low <= value AND value <= ci_high AS inside "
        "FROM evaluations WHERE suite = 'test' ORDER BY 1, 2",
    )
    for iteration in (0, 1, 2):
        named = {row["metric"] for row in metrics if row["iteration"] == iteration}
        assert {"greedy_accuracy", "pass_at_1", "pass_at_4", "maj_at_4"} <= named
    assert all(row["inside"] and row["n"] == 12 for row in metrics)


def test_all_checks_are_recorded_and_no_critical_one_failed(project: tuple[Path, str]) -> None:
    folder, _ = project
    checked = rows(folder, "SELECT DISTINCT table_name FROM checks")
    failed = rows(folder, "SELECT * FROM checks WHERE severity = 'critical' AND NOT passed")
    assert {"problems", "prompts", "samples", "rewards", "training_set", "evaluations"} <= {
        row["table_name"] for row in checked
    }
    assert failed == []


def test_commits_name_their_mlflow_run_and_mlflow_names_their_tables(
    project: tuple[Path, str],
) -> None:
    import mlflow
    from deltalake import DeltaTable

    folder, _ = project
    history = DeltaTable(str(folder / "lake" / "samples")).history(1)
    run_id = json.loads(history[0]["userMetadata"])["mlflow_run_id"]
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    logged = client.get_run(run_id)
    assert "test/greedy_accuracy" in logged.data.metrics
    assert "samples" in {item.dataset.name for item in logged.inputs.dataset_inputs}
    parent = client.get_run(logged.data.tags["mlflow.parentRunId"])
    assert {item.dataset.name for item in parent.inputs.dataset_inputs} == {
        "problems",
        "training_set",
    }
    assert "| test greedy |" in parent.data.tags["mlflow.note.content"]
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "report")} == {
        "report/index.html",
        "report/samples-tiny.html",
    }


def test_it_leaves_pages_with_its_results_and_samples(project: tuple[Path, str]) -> None:
    folder, printed = project
    pages = folder / "data" / "runs" / "tiny" / "report"
    assert f"Pages: {pages / 'index.html'}" in printed
    index = (pages / "index.html").read_text(encoding="utf-8")
    assert re.search(r"Complete: (\d+) of \1 stages sealed", index)
    assert re.search(r"All \d+ samples of the run", index)


def test_it_ends_with_a_table_a_picture_and_the_next_commands(project: tuple[Path, str]) -> None:
    folder, printed = project
    assert "iteration" in printed
    assert "restem sql" in printed
    picture = next((folder / "data" / "runs" / "tiny").glob("*.png"))
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_commands_it_ends_with_work_when_pasted(
    project: tuple[Path, str], tmp_path: Path
) -> None:
    _, printed = project
    commands = [line.strip() for line in printed.split("Next:")[1].splitlines() if line.strip()]
    sql, explain, *_ = commands
    assert "correct" in pasted(sql, tmp_path).stdout
    assert "Training set" in pasted(explain, tmp_path).stdout
    planned = pasted(commands[-1].replace("restem run", "restem plan"), tmp_path)
    assert "run tiny-2" in planned.stdout, planned.stderr


def test_no_engine_chatter_reaches_the_screen(project: tuple[Path, str]) -> None:
    _, printed = project
    for noise in ("WARNING", "INFO 1", "WARN ", "(raylet)", "(pid=", "Traceback", "it/s]"):
        assert noise not in printed


def test_the_same_command_again_changes_nothing_and_shows_the_result(
    project: tuple[Path, str],
) -> None:
    folder, printed = project
    before = rows(folder, "SELECT * FROM stages ORDER BY iteration, stage")
    code, again = restem("run", str(folder / "tiny.yaml"), timeout=60)
    assert code == 0, again
    assert rows(folder, "SELECT * FROM stages ORDER BY iteration, stage") == before
    report = (folder / "data" / "runs" / "tiny" / "report.txt").read_text().strip()
    assert "test greedy" in report
    assert max(map(len, report.split("Seconds per stage")[0].splitlines())) <= 80
    assert report in printed
    assert report in again


def test_a_run_that_was_killed_after_its_last_table_is_finished_by_the_next_start(
    project: tuple[Path, str],
) -> None:
    import mlflow

    folder, printed = project
    report = folder / "data" / "runs" / "tiny" / "report.txt"
    assert report.read_text().strip() in printed
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'restem'")
    (run,) = client.search_runs(
        [experiment.experiment_id], "tags.`restem.run` = 'tiny' and attributes.run_name = 'tiny'"
    )
    assert run.info.status == "FINISHED"
    before = rows(folder, "SELECT * FROM stages ORDER BY iteration, stage")
    report.unlink()
    client.update_run(run.info.run_id, status="RUNNING")
    code, again = restem("run", str(folder / "tiny.yaml"))
    assert code == 0, again
    assert report.read_text().strip() in again
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    assert rows(folder, "SELECT * FROM stages ORDER BY iteration, stage") == before


def test_a_changed_setting_under_the_same_name_is_refused_with_the_difference(
    project: tuple[Path, str],
) -> None:
    folder, _ = project
    code, printed = restem(
        "run", str(folder / "tiny.yaml"), "--set", "sampling.temperature=0.5", timeout=60
    )
    assert code == 2
    assert "sampling.temperature: 1.0 -> 0.5" in printed
    assert "Traceback" not in printed


def test_a_sample_is_explained_from_the_problem_to_the_training_set(
    project: tuple[Path, str],
) -> None:
    folder, _ = project
    sample = rows(folder, "SELECT sample_id FROM training_set WHERE iteration = 2 LIMIT 1")[0]
    code, printed = restem("explain", sample["sample_id"], "--lake", str(folder / "lake"))
    assert code == 0, printed
    assert "kept" in printed


def test_a_fork_trains_on_other_rows_of_the_same_samples_and_is_renamed_and_deleted(
    project: tuple[Path, str],
) -> None:
    import mlflow

    folder, _ = project
    lake, before = ("--lake", str(folder / "lake")), rows(folder, "SELECT * FROM stages")
    changes = ("--set", "curate.cutoff=1", "--set", "num_iterations=1")
    code, printed = restem("runs", "fork", "tiny", "forked", "--from", "select@1", *changes, *lake)
    assert code == 0, printed
    code, printed = restem("run", str(folder / "tiny.yaml"), "--name", "forked", *changes)
    assert code == 0, printed
    assert "iteration 1  select" in printed
    assert "iteration 0" not in printed.split("policies by iteration")[0]
    drawn = rows(
        folder,
        "SELECT count(*) AS n, count(DISTINCT sample_id) AS ids FROM samples WHERE iteration = 0",
    )
    assert drawn[0]["n"] == 2 * drawn[0]["ids"]
    trained = rows(
        folder,
        "SELECT count(*) AS n, count(DISTINCT problem_id) AS problems FROM training_set "
        "WHERE run_id = 'forked'",
    )
    assert trained[0]["n"] == trained[0]["problems"] > 0
    (own,) = rows(folder, "SELECT mlflow_run_id AS id FROM runs WHERE run_id = 'forked'")

    code, printed = restem("runs", "rename", "forked", "renamed", *lake)
    assert code == 0, printed
    code, printed = restem("run", str(folder / "tiny.yaml"), "--name", "renamed", *changes)
    assert code == 0, printed
    assert "iteration 1  " not in printed
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    assert client.get_run(own["id"]).info.run_name == "renamed"

    code, printed = restem("runs", "delete", "renamed", "--yes", *lake)
    assert code == 0, printed
    assert client.get_run(own["id"]).info.lifecycle_stage == "deleted"
    assert [path.name for path in (folder / "data" / "runs").iterdir()] == ["tiny"]
    assert rows(folder, "SELECT * FROM stages") == before
