"""The report's words, figures and picture from literal rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.config import LakeConfig, MLflowConfig, ProblemsConfig, RunConfig, SourceConfig
from pipelines.results.report import (
    as_text,
    count_selected,
    describe_difference,
    iteration_table,
    latest_attempts,
    next_commands,
    paired_verdicts,
    report,
    seconds_table,
    suites_table,
)
from schemas import EVALUATIONS, REWARDS, RUNS, SAMPLES, SELECTIONS, STAGES, TRAINING_SET
from tests import factories

if TYPE_CHECKING:
    import pyarrow as pa


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


def stages() -> list[dict[str, Any]]:
    measures = '{"tokens": 81234, "tokens_per_second": 412.4}'
    return [
        {"iteration": 0, "stage": "generate", "attempt": 1, "seconds": 99.0, "measures": "{}"},
        {
            "iteration": 0,
            "stage": "generate",
            "attempt": 2,
            "seconds": 197.04,
            "measures": measures,
        },
        {"iteration": 1, "stage": "improve", "attempt": 1, "seconds": 80.0, "measures": "{}"},
    ]


def selections() -> list[dict[str, Any]]:
    chosen = [("correct", True)] * 3 + [("correct", False)] * 2 + [("wrong", False)] * 5
    return [{"iteration": 1, "verdict": verdict, "kept": kept} for verdict, kept in chosen]


class Tables:
    """A lake's reader over literal rows."""

    def __init__(self) -> None:
        def draw(i: int, p: int) -> dict[str, Any]:
            return {
                "iteration": i,
                "sample_id": f"s{i} {p}",
                "problem_id": f"p{p}",
                "purpose": "test",
                "decoding": "greedy",
            }

        draws = [draw(i, p) for i in (0, 2) for p in range(40)]
        verdicts = [
            {
                "iteration": row["iteration"],
                "sample_id": row["sample_id"],
                "verdict": "correct" if p < (4 if row["iteration"] == 0 else 16) else "wrong",
            }
            for row in draws
            for p in [int(row["problem_id"][1:])]
        ]
        self.tables = {
            "evaluations": factories.arrow(EVALUATIONS, *evaluations()),
            "stages": factories.arrow(STAGES, *stages()),
            "selections": factories.arrow(SELECTIONS, *selections()),
            "samples": factories.arrow(SAMPLES, *draws),
            "evaluated_rewards": factories.arrow(REWARDS, *verdicts),
            "training_set": factories.arrow(TRAINING_SET, {"sample_id": "abc"}),
            "runs": factories.arrow(RUNS, {"mlflow_run_id": "m1"}),
        }

    def arrow(
        self,
        table: str,
        run: str | None = None,
        iteration: int | None = None,
        version: int | None = None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        import pyarrow.compute as pc

        rows = self.tables[table]
        if iteration is not None:
            rows = rows.filter(pc.equal(rows["iteration"], iteration))
        return rows.select(columns) if columns else rows


def lines_of(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in text.splitlines()
        if line.startswith("│")
    ]


def test_the_table_has_a_row_a_policy() -> None:
    text = as_text(iteration_table(evaluations(), count_selected(selections()), "demo"))
    assert lines_of(text) == [
        ["0", "–", "–", "–", "5.0 %", "6.0 % [2.0, 11.0]", "5.0 %", "30.0 %", "8.0 %"],
        ["1", "10", "5", "3", "15.0 %", "14.0 % [10.0, 19.0]", "11.0 %", "41.0 %", "17.0 %"],
        ["2", "–", "–", "–", "20.0 %", "22.0 % [18.0, 27.0]", "18.0 %", "52.0 %", "27.0 %"],
    ]
    for header in ("sampled", "kept", "D_val", "pass@8", "maj@8"):
        assert header in text


def test_the_suites_table_has_a_row_a_suite_and_a_column_an_iteration() -> None:
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
    assert lines_of(as_text(suites_table(rows))) == [
        ["gsm8k", "10.0 % [5.0, 15.0]", "20.0 % [15.0, 25.0]"],
        ["exam", "–", "30.0 % [25.0, 35.0]"],
    ]


def test_seconds_are_those_of_the_last_attempt() -> None:
    text = as_text(seconds_table(latest_attempts(stages())))
    assert lines_of(text) == [
        ["0", "197.0", "–", "197", "81,234", "412"],
        ["1", "–", "80.0", "80", "–", "–"],
    ]


def test_the_difference_is_over_problems_that_both_policies_answered(tmp_path: Path) -> None:
    base = {f"p{i}": i < 4 for i in range(40)} | {"only base": True}
    final = {f"p{i}": i < 16 for i in range(40)} | {"only final": True}
    found = paired_verdicts(base, final, config(tmp_path))
    assert found is not None
    assert found.n == 40
    assert found.value == pytest.approx(0.3)
    assert 0 < found.low < 0.3 < found.high
    assert "+30.0 points (95 % interval +" in describe_difference(found)
    assert paired_verdicts({"a": True}, {"b": True}, config(tmp_path)) is None


def test_the_commands_name_the_run_a_sample_and_what_can_be_opened(tmp_path: Path) -> None:
    commands = next_commands(config(tmp_path), "abc")
    assert any(" sql " in line and line.endswith("--run demo") for line in commands)
    assert any(line.endswith("explain abc") for line in commands)
    assert "make mlflow" in commands
    here = next_commands(config(tmp_path), "abc", "m1")
    assert "make mlflow   # then open http://127.0.0.1:5000/#/runs/m1" in here
    server = MLflowConfig(tracking_uri="https://mlflow.example.org/")
    there = next_commands(config(tmp_path, mlflow=server), "abc", "m1")
    assert "open https://mlflow.example.org/#/runs/m1" in there
    off = next_commands(config(tmp_path, mlflow=MLflowConfig(enabled=False)))
    assert not any("mlflow" in line.split("--set")[0] for line in off)
    assert not any("explain" in line for line in off)


def test_a_report_is_made_from_the_run_s_tables_and_shown(tmp_path: Path) -> None:
    import io

    from rich.console import Console

    found = report(Tables(), config(tmp_path))
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.3)
    assert found.picture is not None
    assert found.picture.read_bytes().startswith(b"\x89PNG")
    out = io.StringIO()
    found.print(Console(file=out, width=140))
    text = out.getvalue()
    for part in ("22.0 % [18.0, 27.0]", "412", "+30.0 points", "accuracy.png", "explain abc"):
        assert part in text


def test_a_command_is_not_broken_by_a_narrow_terminal(tmp_path: Path) -> None:
    import io

    from rich.console import Console

    found = report(Tables(), config(tmp_path))
    out = io.StringIO()
    found.print(Console(file=out, width=60))
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert all(command in lines for command in found.commands)
