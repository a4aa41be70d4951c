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
from pipelines.results.markdown import code_block, in_markdown, markdown_table
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


def row(suite: str, metric: str, iteration: int, value: float) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "suite": suite,
        "metric": metric,
        "value": value,
        "ci_low": value - 0.05,
        "ci_high": value + 0.05,
    }


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


def test_further_verifiers_have_rows() -> None:
    further = [
        {**row("test", metric, 0, value), "verifier": "math_verify"}
        for metric, value in (
            ("math_verify/greedy_accuracy", 0.5),
            ("math_verify/agreement_with_math_answer", 0.75),
            ("math_verify/pass_at_8", 0.75),
        )
    ]
    rows = {item["metric"]: item for item in policy_rows([*evaluations(), *further], [])}
    assert rows["  by math_verify"]["0"] == "50.0 [45.0, 55.0]"
    assert rows["math_verify agrees with math_answer"]["0"] == "75.0 [70.0, 80.0]"
    assert rows["math_verify agrees with math_answer"]["1"] is None
    assert [name for name in rows if name and "pass@" in name] == ["test pass@1", "test pass@8"]


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
    plot = run.folder / "accuracy.png"
    return report(LakeReader(Location.of(run.lake)), run, TIMED_STAGES, plot=plot)


def values(rows: list[dict[str, str | None]]) -> list[list[str | None]]:
    return [list(row.values()) for row in rows]


def printed(made: RunReport, width: int) -> str:
    out = io.StringIO()
    screen = console(out)
    screen.width = width
    print_report(made, screen)
    return out.getvalue()


def test_the_metrics_have_a_row_each_and_the_policies_a_column_each(made: RunReport) -> None:
    assert list(made.policies[0]) == ["metric", "0", "1", "2"]
    assert values(made.policies) == [
        ["train sampled", None, "10", None],
        ["train correct", None, "5", None],
        ["train kept", None, "3", None],
        ["D_val greedy", "5.0 [1.0, 10.0]", "15.0 [11.0, 20.0]", "20.0 [16.0, 25.0]"],
        ["test greedy", "6.0 [2.0, 11.0]", "14.0 [10.0, 19.0]", "22.0 [18.0, 27.0]"],
        ["test pass@1", "5.0 [1.0, 10.0]", "11.0 [7.0, 16.0]", "18.0 [14.0, 23.0]"],
        ["test pass@8", "30.0 [26.0, 35.0]", "41.0 [37.0, 46.0]", "52.0 [48.0, 57.0]"],
        ["test maj@8", "8.0 [4.0, 13.0]", "17.0 [13.0, 22.0]", "27.0 [23.0, 32.0]"],
    ]


def test_samples_whose_prompts_kill_the_engine_are_counted(made: RunReport) -> None:
    assert "4 samples have no solution, since their prompts kill the engine" in printed(made, 200)
    assert "kill the engine" not in printed(replace(made, killed=None), 200)


def test_large_numbers_of_samples_have_separators() -> None:
    chosen = [{"iteration": 1, "sampled": 12345, "correct": 6000, "kept": 3}]
    rows = policy_rows(evaluations(), chosen)
    assert [item["1"] for item in rows[:3]] == ["12,345", "6,000", "3"]


def test_a_suite_is_summed_up_by_its_greedy_accuracies_or_its_smallest_k() -> None:
    rows = [
        row("test", "greedy_accuracy", 0, 0.9),
        row("gsm8k", "math_verify/greedy_accuracy", 0, 0.15),
        row("gsm8k", "greedy_accuracy", 0, 0.1),
        row("gsm8k", "pass_at_8", 0, 0.7),
        row("gsm8k", "greedy_accuracy", 1, 0.2),
        row("sampled", "pass_at_64", 1, 0.7),
        row("sampled", "pass_at_8", 1, 0.5),
        row("exam", "graded_share", 1, 0.3),
        row("exam", "graded_points", 1, 40.0),
    ]
    assert values(suite_rows(rows)) == [
        ["gsm8k", "10.0 [5.0, 15.0]", "20.0 [15.0, 25.0]"],
        ["  by math_verify", "15.0 [10.0, 20.0]", None],
        ["sampled pass@8", None, "50.0 [45.0, 55.0]"],
        ["exam by hand", None, "30.0 [25.0, 35.0]"],
    ]


def test_seconds_are_those_of_the_last_attempt(made: RunReport) -> None:
    assert values(made.seconds) == [
        ["generate", "197.0", None],
        ["improve", None, "80.0"],
        ["all", "197", "80"],
        ["tokens", "280", None],
        ["tokens/s", "412", None],
    ]


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
    for part in ("22.0 [18.0, 27.0]", "412", "+30.0 points", "accuracy.png", "explain abc"):
        assert part in text


def test_a_command_is_not_broken_by_a_narrow_terminal(made: RunReport) -> None:
    lines = [line.strip() for line in printed(made, 60).splitlines()]
    assert all(command in lines for command in made.commands)


def test_the_tables_fit_80_columns_with_k_to_64_suites_and_verifiers(made: RunReport) -> None:
    metrics = [
        "greedy_accuracy",
        *(f"{kind}_at_{2**n}" for kind in ("pass", "maj") for n in range(7)),
    ]
    metrics += [f"math_verify/{metric}" for metric in metrics]
    names = ("test", "gsm8k", *(f"bbh/a_rather_long_task_name_{n}" for n in range(3)))
    found = [
        row(s, metric, i, 0.456 + i / 10) for s in names for metric in metrics for i in range(5)
    ]
    wide = replace(made, policies=policy_rows(found, []), suites=suite_rows(found))
    for text in (printed(wide, 80), printed(wide, 10_000)):  # a terminal, a log
        lines = text.splitlines()
        tables = lines[: next(n for n, line in enumerate(lines) if line.startswith("Greedy"))]
        assert max(map(len, tables)) <= 80
        rows = [" ".join(line.split()) for line in tables]
        assert "test maj@64 45.6 [40.6, 50.6] 55.6 [50.6, 60.6] 65.6 [60.6, 70.6]" in rows
        assert "test maj@64 75.6 [70.6, 80.6] 85.6 [80.6, 90.6]" in rows
        assert "bbh/a_rather_long_task_name_2" in text
    assert "\x1b" not in printed(wide, 10_000)


def test_the_results_are_a_table_in_markdown(made: RunReport) -> None:
    text = in_markdown(made)
    assert text.startswith("Greedy test accuracy, last policy minus base")
    lines = text.splitlines()
    start = lines.index("| metric | 0 | 1 | 2 |")
    assert lines[start + 1] == "| --- | ---: | ---: | ---: |"
    assert "| test pass@8 | 30.0 [26.0, 35.0] | 41.0 [37.0, 46.0] | 52.0 [48.0, 57.0] |" in lines


def test_a_name_is_no_markup_in_markdown() -> None:
    table = markdown_table([{"suite": "bbh/<img src=x>|*b*`c`[d](e)\n", "0": None}])
    assert table.splitlines()[-1] == ("| bbh/&lt;img src=x&gt;\\|\\*b\\*\\`c\\`[d]\\(e) | - |")
    assert code_block("a ``` b") == "````\na ``` b\n````"
