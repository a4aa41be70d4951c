"""The report's rows, sentences and plot, from a small lake of literal rows."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake

from jobs.show.console import console
from jobs.show.report import print_report
from pipelines.config import LakeConfig, ProblemsConfig, RunConfig, SourceConfig
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.results.paired import paired_gain
from pipelines.results.report import (
    RunReport,
    describe_gain,
    policy_rows,
    report,
    suite_rows,
)
from schemas import EVALUATIONS, REWARDS, RUNS, SAMPLES, SELECTIONS, STAGES, TRAINING_SET
from tests import factories

TIMED_STAGES = ("ingest", "generate", "score", "improve")


def config(folder: Path, **settings: Any) -> RunConfig:
    return RunConfig(
        name="demo",
        output=folder,
        lake=LakeConfig(uri=str(folder / "lake")),
        problems=ProblemsConfig(sources=(SourceConfig(kind="jsonl", location="x.jsonl"),)),
        **settings,
    )


def evaluations() -> list[dict[str, Any]]:
    figures = {
        ("test", "greedy_accuracy"): (0.06, 0.14, 0.22),
        ("test", "pass_at_1"): (0.05, 0.11, 0.18),
        ("test", "pass_at_8"): (0.30, 0.41, 0.52),
        ("test", "maj_at_8"): (0.08, 0.17, 0.27),
        ("validation", "greedy_accuracy"): (0.05, 0.15, 0.20),
        ("train", "pass_at_1"): (0.05, 0.12, 0.24),
    }
    return [
        {
            "iteration": i,
            "suite": suite,
            "metric": metric,
            "value": value,
            "ci_low": value - 0.04,
            "ci_high": value + 0.05,
        }
        for (suite, metric), values in figures.items()
        for i, value in enumerate(values)
    ]


def test_further_verifiers_have_columns() -> None:
    further = [
        {"iteration": 0, "suite": "test", "metric": metric, "value": value}
        for metric, value in (
            ("math_verify/greedy_accuracy", 0.5),
            ("math_verify/agreement_with_math_answer", 0.75),
            ("math_verify/pass_at_8", 0.75),
        )
    ]
    (row, *_) = policy_rows([*evaluations(), *further], [])
    assert row["math_verify greedy"] == "50.0 %"
    assert row["math_verify agrees with math_answer"] == "75.0 %"
    assert [name for name in row if "pass@" in name] == ["pass@1", "pass@8"]


def stages() -> list[dict[str, Any]]:
    # The measures of the last start only; 40 samples of 7 tokens were drawn in all.
    measures = '{"tokens": 70, "tokens_per_second": 412.4}'
    generate = {"iteration": 0, "stage": "generate", "table_name": "samples"}
    improve = {"iteration": 1, "stage": "improve", "table_name": "policies"}
    return [
        generate | {"attempt": 1, "seconds": 99.0},
        generate | {"attempt": 2, "seconds": 197.04, "measures": measures},
        improve | {"attempt": 1, "seconds": 80.0},
    ]


def selections() -> list[dict[str, Any]]:
    chosen = [("correct", True)] * 3 + [("correct", False)] * 2 + [("wrong", False)] * 5
    return [{"iteration": 1, "verdict": verdict, "kept": kept} for verdict, kept in chosen]


def samples() -> list[dict[str, Any]]:
    return [
        {
            "iteration": i,
            "sample_id": f"s{i} {p}",
            "problem_id": f"p{p}",
            "purpose": "test",
            "decoding": "greedy",
            "finish_reason": "engine_killed" if p < 2 else "stop",
        }
        for i in (0, 2)
        for p in range(40)
    ]


def rewards() -> list[dict[str, Any]]:
    """The base model solves 4 of the 40 problems, the last policy 16."""
    return [
        {
            "iteration": i,
            "sample_id": f"s{i} {p}",
            "verdict": "correct" if p < (4 if i == 0 else 16) else "wrong",
        }
        for i in (0, 2)
        for p in range(40)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """The report of a run named demo."""
    run = config(tmp_path_factory.mktemp("report"))
    tables = {
        EVALUATIONS: evaluations(),
        STAGES: stages(),
        SELECTIONS: selections(),
        SAMPLES: samples(),
        REWARDS: rewards(),
        TRAINING_SET: [{"sample_id": "abc"}],
        RUNS: [{"mlflow_run_id": "m1"}],
    }
    for table, rows in tables.items():
        arrow = factories.arrow(table, *({**row, "run_id": "demo"} for row in rows))
        write_deltalake(f"{run.lake.uri}/{table.name}", arrow)
    return report(LakeReader(Location.of(run.lake)), run, TIMED_STAGES)


def values(rows: list[dict[str, str | None]]) -> list[list[str | None]]:
    return [list(row.values()) for row in rows]


def printed(made: RunReport, width: int) -> str:
    out = io.StringIO()
    screen = console(out)
    screen.width = width
    print_report(made, screen)
    return out.getvalue()


def test_the_policies_have_a_row_each(made: RunReport) -> None:
    assert values(made.policies) == [
        ["0", None, None, None, "5.0 %", "6.0 % [2.0, 11.0]", "5.0 %", "30.0 %", "8.0 %"],
        ["1", "10", "5", "3", "15.0 %", "14.0 % [10.0, 19.0]", "11.0 %", "41.0 %", "17.0 %"],
        ["2", None, None, None, "20.0 %", "22.0 % [18.0, 27.0]", "18.0 %", "52.0 %", "27.0 %"],
    ]
    for header in ("sampled", "kept", "D_val", "pass@8", "maj@8"):
        assert all(header in row for row in made.policies)


def test_samples_whose_prompts_kill_the_engine_are_counted(made: RunReport) -> None:
    assert "4 samples have no solution, since their prompts kill the engine" in printed(made, 200)
    assert "kill the engine" not in printed(replace(made, killed=None), 200)


def test_large_numbers_of_samples_have_separators() -> None:
    rows = policy_rows(
        evaluations(), [{"iteration": 1, "sampled": 12345, "correct": 6000, "kept": 3}]
    )
    assert list(rows[1].values())[1:4] == ["12,345", "6,000", "3"]


def test_the_suites_have_a_row_each_and_the_iterations_a_column_each() -> None:
    rows = [
        {
            "iteration": iteration,
            "suite": suite,
            "metric": metric,
            "value": value,
            "ci_low": value - 0.05,
            "ci_high": value + 0.05,
        }
        for iteration, suite, metric, value in (
            (0, "test", "greedy_accuracy", 0.9),
            (0, "gsm8k", "greedy_accuracy", 0.1),
            (0, "gsm8k", "pass_at_8", 0.7),
            (1, "gsm8k", "greedy_accuracy", 0.2),
            (1, "exam", "greedy_accuracy", 0.3),
        )
    ]
    assert values(suite_rows(rows)) == [
        ["gsm8k", "10.0 % [5.0, 15.0]", "20.0 % [15.0, 25.0]"],
        ["exam", None, "30.0 % [25.0, 35.0]"],
    ]


def test_seconds_are_those_of_the_last_attempt(made: RunReport) -> None:
    assert values(made.seconds) == [
        ["0", "197.0", None, "197", "280", "412"],
        ["1", None, "80.0", "80", None, None],
    ]


def test_seconds_are_in_the_order_of_the_loop_for_stages_that_ran(made: RunReport) -> None:
    columns = ["iteration", "generate", "improve", "all", "tokens", "tokens/s"]
    assert list(made.seconds[0]) == columns


def test_the_gain_is_over_problems_that_both_policies_answered(tmp_path: Path) -> None:
    base = {f"p{i}": float(i < 4) for i in range(40)} | {"only base": 1.0}
    final = {f"p{i}": float(i < 16) for i in range(40)} | {"only final": 1.0}
    num_bootstrap = config(tmp_path).evaluation.num_bootstrap
    found = paired_gain(base, final, num_bootstrap, (0,))
    assert found is not None
    assert found.n == 40
    assert found.value == pytest.approx(0.3)
    assert 0 < found.low < 0.3 < found.high
    assert "+30.0 points (95 % interval +" in describe_gain(found)
    assert paired_gain({"a": 1.0}, {"b": 1.0}, num_bootstrap, (0,)) is None


def test_a_report_is_made_from_the_runs_tables_and_printed(made: RunReport) -> None:
    assert made.gain is not None
    assert made.gain.value == pytest.approx(0.3)
    assert made.plot is not None
    assert made.plot.read_bytes().startswith(b"\x89PNG")
    text = printed(made, 140)
    for part in ("22.0 % [18.0, 27.0]", "412", "+30.0 points", "accuracy.png", "explain abc"):
        assert part in text


def test_a_command_is_not_broken_by_a_narrow_terminal(made: RunReport) -> None:
    lines = [line.strip() for line in printed(made, 60).splitlines()]
    assert all(command in lines for command in made.commands)


def test_the_tables_fit_a_terminal_of_80_columns(made: RunReport) -> None:
    lines = printed(made, 80).splitlines()
    tables = lines[: next(n for n, line in enumerate(lines) if line.startswith("Greedy"))]
    assert max(map(len, tables)) <= 80
    last = "2 - - - 20.0 % 22.0 % [18.0, 27.0] 18.0 % 52.0 % 27.0 %"
    assert last in [" ".join(line.split()) for line in tables]
