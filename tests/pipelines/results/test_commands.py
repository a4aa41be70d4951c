"""Every command that is printed works when it is pasted, wherever the lake and the file are."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from pipelines.config import MLflowConfig, RunConfig
from pipelines.lake.location import Location
from pipelines.results.commands import lake_arguments, next_commands
from tests.graded_lake import write_graded_lake
from tests.lake_fixture import config, write_lake

ROOT = Path(__file__).resolve().parents[3]
AWKWARD = "the user's lake $HOME"


def pasted(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a shell of its own, where `restem` is this checkout's."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "restem").write_text(f'#!/bin/sh\nexec {sys.executable} -m jobs "$@"\n')
    (tools / "restem").chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if name != "RESTEM_LAKE"}
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "PATH": path, "PYTHONPATH": str(ROOT), "USER": "ada", **environment},
    )


def commands(lake: Path, folder: Path, **settings: Any) -> list[str]:
    first = config("first").model_copy(
        update={"lake": config("first").lake.model_copy(update={"uri": str(lake)}), **settings}
    )
    plain = RunConfig.model_validate(first.model_dump())
    return next_commands(plain, "first-1-sample-1-0", "m1", ["my run.yaml", "--set", "engine={}"])


@pytest.mark.parametrize("place", ["restem-data/lake", AWKWARD])
def test_the_commands_of_a_report_work_when_pasted(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lake = tmp_path / place
    lake.mkdir(parents=True)
    write_lake(lake)
    sql, explain, mlflow, _ = commands(lake, tmp_path)
    counted = pasted(sql, tmp_path)
    assert counted.returncode == 0, counted.stderr
    assert "correct" in counted.stdout
    lineage = pasted(explain, tmp_path)
    assert lineage.returncode == 0, lineage.stderr
    assert "sample first-1-sample-1-0 (run first" in lineage.stdout
    assert shlex.split(mlflow, comments=True)[1:] == [
        "ui", "--backend-store-uri", "sqlite:///restem-data/mlflow.db",
    ]  # fmt: skip


def test_another_run_of_the_same_file_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my run.yaml").write_text(
        "problems: {sources: [{kind: generator, location: 'tests.tiny_loop:sums', "
        "options: {num_train: 2, num_validation: 0, num_test: 1}, split_field: split}]}\n"
        "model: {base_model: nobody/nothing}\n"
    )
    again = commands(tmp_path / "lake", tmp_path)[-1]
    planned = pasted(again.replace("restem run", "restem plan"), tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "run first-2" in planned.stdout


def test_the_page_of_a_server_is_opened_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = MLflowConfig(tracking_uri="https://ada:secret@mlflow.example.org/")
    line = next(c for c in commands(tmp_path, tmp_path, mlflow=server) if "mlflow" in c)
    assert line == "python3 -m webbrowser -t 'https://mlflow.example.org/#/runs/m1'"
    off = commands(tmp_path, tmp_path, mlflow=MLflowConfig(enabled=False))
    assert not any("mlflow" in line for line in off)


def test_a_stores_keys_are_named_and_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESTEM_LAKE", raising=False)
    there = Location("s3://bucket/lake", {"AWS_SECRET_ACCESS_KEY": "secret"})
    arguments = lake_arguments(there)
    assert arguments == (
        ' --lake s3://bucket/lake --storage AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY"'
    )
    monkeypatch.setenv("RESTEM_LAKE", "s3://bucket/lake")
    assert "--lake" not in lake_arguments(there)


def test_the_command_after_an_export_imports_the_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / AWKWARD
    folder.mkdir()
    lake = write_graded_lake(folder)
    words = ["grade", "export", "first", "--suite", "test", "--output", "exam papers"]
    exported = CliRunner().invoke(app, [*words, "--lake", str(lake)], env={"COLUMNS": "60"})
    assert exported.exit_code == 0, exported.output
    (sheet,) = (tmp_path / "exam papers").glob("*.csv")
    rows = list(csv.DictReader(sheet.open(encoding="utf-8-sig", newline="")))
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "mark": "1"} for row in rows)
    found = re.search(r"^then: (.*)$", exported.stdout, re.MULTILINE)
    assert found is not None
    imported = pasted(found[1], tmp_path)
    assert imported.returncode == 0, imported.stderr
    assert "marks by ada are recorded" in imported.stdout


def test_the_command_in_a_message_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lake = write_lake(tmp_path / AWKWARD)
    result = CliRunner().invoke(app, ["explain", "nothing", "--lake", str(lake)])
    command = result.stderr.split("list some with: ")[1]
    assert pasted(command, tmp_path).returncode == 0
