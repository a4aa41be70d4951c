"""The command line: what is printed, what it exits with, and that it never shows a traceback."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner, Result

from jobs.cli import app
from jobs.machine import accelerators
from tests.lake_fixture import write_lake
from tests.pipelines.placement.machines import ON_A_PROCESSOR

CONFIG = """
problems:
  sources: [{kind: generator, location: "tests.jobs.test_cli:sums", options: {size: 400}}]
  num_validation: 50
  num_test: 150
sampling: {num_samples_per_problem: 12, max_tokens: 48}
"""


def sums(size: int, seed: int) -> Iterator[dict[str, str]]:
    """The generator of CONFIG's problems."""
    for number in range(size):
        yield {"question": f"What is {number} + {seed}?", "answer": str(number + seed)}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def call(*arguments: object, lake: Path | None = None) -> Result:
    environment = {"COLUMNS": "120", "NO_COLOR": "1"}
    if lake is not None:
        environment["RESTEM_LAKE"] = str(lake)
    return CliRunner().invoke(app, [str(item) for item in arguments], env=environment)


def restem(*arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "jobs", *(str(item) for item in arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **settings}
    )


def test_help_lists_every_command() -> None:
    said = call("--help").output
    for command in (
        "run",
        "plan",
        "status",
        "sql",
        "explain",
        "rescore",
        "verify",
        "compare",
        "doctor",
    ):
        assert command in said


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    heavy = [
        "pandas",
        "pyarrow",
        "deltalake",
        "ray",
        "torch",
        "pyspark",
        "mlflow",
        "pydantic",
        "numpy",
        "yaml",
        "vllm",
    ]
    code = f"import sys, jobs.cli; print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_version_names_the_package() -> None:
    assert call("--version").output.startswith("restem 0.")


def test_sql_prints_a_table_with_its_row_count(lake: Path) -> None:
    result = call("sql", "SELECT verdict, count(*) AS n FROM rewards GROUP BY 1", lake=lake)
    assert result.exit_code == 0
    assert "correct" in result.output
    assert "(2 rows)" in result.output


def test_sql_says_how_to_see_the_rows_it_left_out(lake: Path) -> None:
    result = call("sql", "SELECT sample_id FROM samples", "--limit", 3, lake=lake)
    assert "first 3 of 120 rows" in result.output


def test_sql_csv_is_whole_and_exact(lake: Path) -> None:
    query = "SELECT sample_id, solution, log_probability, prompt FROM training_rows"
    result = call("sql", query, "--format", "csv", lake=lake)
    rows = list(csv.DictReader(io.StringIO(result.output)))
    assert len(rows) == 16
    assert all(row["prompt"].endswith("\nAnswer:") for row in rows)
    assert {row["log_probability"] for row in rows} == {"-3.5"}


def test_sql_json_keeps_types_and_nulls(lake: Path) -> None:
    query = (
        "SELECT stop, samples.index, created_at, CAST(NULL AS INT) AS nothing, "
        "'NaN'::DOUBLE AS odd FROM samples JOIN prompts USING (prompt_id) LIMIT 1"
    )
    rows = json.loads(call("sql", query, "--format", "json", lake=lake).output)
    assert rows[0]["stop"] == ["\n\n"]
    assert rows[0]["created_at"] == "2026-01-01T12:00:00+00:00"
    assert rows[0]["nothing"] is None
    assert rows[0]["odd"] is None


def test_sql_without_rows_is_an_empty_answer(lake: Path) -> None:
    query = "SELECT sample_id FROM samples WHERE false"
    assert json.loads(call("sql", query, "--format", "json", lake=lake).output) == []
    assert call("sql", query, "--format", "csv", lake=lake).output == "sample_id\n"
    assert "(0 rows)" in call("sql", query, lake=lake).output


def test_sql_restricts_and_travels_in_time(lake: Path) -> None:
    query = "SELECT count(*) AS n FROM samples"
    one = call("sql", query, "--run", "first", "--iteration", 1, "--format", "csv", lake=lake)
    old = call("sql", query, "--version", "samples=0", "--format", "csv", lake=lake)
    assert (one.output, old.output) == ("n\n20\n", "n\n60\n")


def test_status_lists_runs_and_what_is_next(lake: Path) -> None:
    said = call("status", lake=lake).output
    assert "complete" in said
    assert "evaluate, iteration 2" in said


def test_status_of_a_run_shows_stages_checks_and_evaluations(lake: Path) -> None:
    said = call("status", "second", lake=lake).output
    assert "next: evaluate, iteration 2" in said
    assert "1 passed, 1 failed" in said
    assert "accepted share near the last iteration's" in said
    assert "1.000 [0.900, 1.000]" in said


def test_status_counts_the_samples_whose_prompts_kill_the_engine(tmp_path: Path) -> None:
    lake = write_lake(tmp_path)
    assert "kill the engine" not in call("status", "second", lake=lake).output
    rows = DeltaTable(lake / "samples").to_pyarrow_table().filter(pc.field("run_id") == "second")
    killed = rows.slice(0, 3).set_column(
        rows.column_names.index("finish_reason"), "finish_reason", pa.array(["engine_killed"] * 3)
    )
    write_deltalake(lake / "samples", killed, mode="append", partition_by=["run_id", "iteration"])
    said = call("status", "second", lake=lake).output
    assert "3 samples have no solution, since their prompts kill the engine" in said


def test_explain_prints_the_lineage_of_a_kept_sample(lake: Path) -> None:
    said = call("explain", "first-1-sample-1-0", lake=lake).output
    for part in (
        "What is 1 + 1?",
        "characters before the question",
        "policy 1, first-policy-1: fine-tuned from base",
        "the base model",
        "temperature 0.7",
        "correct, reward 1",
        "kept for iteration 2",
        "trained on it: policy 2, first-policy-2",
    ):
        assert part in said


def test_explain_says_why_a_sample_was_not_kept(lake: Path) -> None:
    said = call("explain", "first-0-sample-1-3", lake=lake).output
    assert "not kept: reward_not_above_threshold (its reward is not above the threshold)" in said
    greedy = call("explain", "first-0-sample-5-0", lake=lake).output
    assert "not considered: drawn for an evaluation" in greedy


def test_compare_shows_settings_scores_and_the_paired_difference(lake: Path) -> None:
    said = call("compare", "first", "second", lake=lake).output
    assert "curate.cutoff" in said
    assert "second - first: +0.250" in said
    assert "0.750 [0.650, 0.850]" in said


def test_plan_counts_rows_tokens_and_engine_starts(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "this_machine", lambda cpus: ON_A_PROCESSOR)
    # A lake of its own: the working folder's may be of another version.
    settings = ["--set", "num_iterations=1", "--set", f"lake.uri={tmp_path / 'lake'}"]
    said = call("plan", config, *settings, "--name", "mine").output
    assert "run mine" in said
    assert "train 200, validation 50, test 150" in said
    assert "13 stages, 2 engine starts" in said


def test_doctor_prints_a_line_a_check() -> None:
    result = call("doctor")
    assert result.exit_code in (0, 1)
    for what in ("python", "stack", "java", "processor", "memory", "disk", "gpu"):
        assert what in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sql", "SELECT * FROM sampels"], "did you mean 'samples'?"),
        (["sql", "DROP TABLE samples"], "read-only"),
        (["sql", "SELECT 1", "--version", "samples"], "--version must be TABLE=N, got 'samples'"),
        (["sql", "SELECT 1", "--version", "samples=x"], "must be a whole number >= 0, got 'x'"),
        (["sql", "SELECT 1", "--storage", "x"], "--storage must be KEY=VALUE, got 'x'"),
        (["status", "third"], "no run 'third'"),
        (["explain", "nothing"], "no sample's id starts with 'nothing'"),
        (["explain", "first-1-"], "give more of the id"),
        (["compare", "first"], "two or more different runs"),
        (["compare", "first", "first"], "two or more different runs"),
        (["compare", "first", "third"], "no run 'third'"),
        (["plan", "absent.yaml"], "no such configuration file"),
    ],
)
def test_a_users_error_is_one_line_and_exit_code_2(
    lake: Path, arguments: list[str], said: str
) -> None:
    result = call(*arguments, lake=lake)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("restem: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_command_lines_own_errors_exit_with_2(lake: Path) -> None:
    assert call("nonsense").exit_code == 2
    assert call("sql").exit_code == 2
    assert call("sql", "SELECT 1", "--format", "xml", lake=lake).exit_code == 2


def test_a_broken_setting_names_field_rule_and_value(config: Path) -> None:
    result = call("plan", config, "--set", "sampling.num_samples_per_problem=0")
    assert result.exit_code == 2
    assert "sampling.num_samples_per_problem" in result.stderr
    assert "got 0" in result.stderr


def test_the_process_ends_with_the_code_and_without_a_traceback(tmp_path: Path) -> None:
    told = restem("status", "--lake", tmp_path / "nowhere")
    assert told.returncode == 2
    assert told.stdout == ""
    assert told.stderr.startswith("restem: no lake at")
    assert "Traceback" not in told.stderr


def test_a_reader_that_goes_away_is_no_error(lake: Path) -> None:
    query = "SELECT a.sample_id FROM samples a, samples b, (SELECT 1 FROM samples LIMIT 10) c"
    command = f"{sys.executable} -m jobs sql '{query}' --format csv --lake {lake} | head -1"
    told = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert told.stdout == "sample_id\n"
    assert told.stderr == ""
    assert told.returncode == 141


@pytest.fixture
def heard_interrupts() -> Iterator[None]:
    """A shell's background jobs, and all that they start, ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_interrupts")
def test_an_interrupt_exits_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    os.mkfifo(slow)  # the command waits for a configuration that nobody writes
    command = [sys.executable, "-m", "jobs", "run", str(slow)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        descriptor = _open_when_read(slow)
        try:
            told = _interrupt(process)
        finally:
            process.kill()
            os.close(descriptor)
    assert process.returncode == 130
    assert told == "restem: interrupted; the same command goes on\n"


def _interrupt(process: subprocess.Popen[str]) -> str:
    """Interrupt the command until it ends; what it says.

    An interrupt just before Python blocks in a read is only heard after the read.
    """
    for _ in range(20):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=3)[1]
    raise TimeoutError("the command goes on")


def _open_when_read(fifo: Path) -> int:
    """The writing end, as soon as the command has opened the reading end."""
    for _ in range(600):
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nobody read {fifo}")


def test_explain_says_which_other_runs_have_the_sample(tmp_path: Path) -> None:
    lake = write_lake(tmp_path)
    for table in ("samples", "prompts"):
        rows = DeltaTable(lake / table).to_pyarrow_table()
        mine = rows.filter(pc.field("run_id") == "first")
        copy = mine.set_column(
            mine.column_names.index("run_id"), "run_id", pa.array(["third"] * mine.num_rows)
        )
        write_deltalake(lake / table, copy, mode="append", partition_by=["run_id", "iteration"])
    said = call("explain", "first-1-sample-1-0", "--run", "first", lake=lake).output
    assert "sample first-1-sample-1-0 (run first" in said
    assert "in other runs too: third; --run NAME shows that one" in said
    assert "other runs" not in call("explain", "second-1-sample-1-0", lake=lake).output
