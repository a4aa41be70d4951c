"""What a run came to: a table, a picture, a difference with its interval, and what to type next.

Rendering from rows alone; the rows come from the lake's reader.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.config import RunConfig
from pipelines.config.suites import RUN_SPLITS
from pipelines.results.figures import accuracy_picture, pass_metrics
from pipelines.stage import STAGE_NAMES
from schemas.rewards import CORRECT

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console
    from rich.table import Table

    from pipelines.metrics.estimates import Estimate

Row = Mapping[str, Any]
Verdicts = Mapping[str, bool]
"""Problem -> whether its greedy test solution is correct."""

_NONE = "–"
_WIDTH = 140
_REPORT_FILE = "report.txt"
_MLFLOW_HERE = "http://127.0.0.1:5000"
_TIMED_STAGES = [stage for stage in STAGE_NAMES if stage != "base_policy"]
"""Those that do work; the base policy is looked up."""


@dataclass(frozen=True)
class Selected:
    """An iteration's E-step: samples drawn for training problems."""

    sampled: int
    correct: int
    kept: int


class Reader(Protocol):
    """Gives a run's rows of a table; see pipelines/lake/reader.py."""

    def arrow(
        self,
        table: str,
        run: str | None = None,
        iteration: int | None = None,
        version: int | None = None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        """The rows."""


@dataclass(frozen=True)
class Report:
    """A run's result, ready to show."""

    name: str
    evaluations: list[Row]
    stages: list[Row]
    selections: dict[int, Selected]
    difference: Estimate | None
    """Greedy test accuracy, last policy minus base, over the same problems."""
    picture: Path | None
    commands: list[str]

    def print(self, console: Console) -> None:
        """Show the tables, the difference, the picture's path and the commands."""
        console.print(iteration_table(self.evaluations, self.selections, self.name))
        suites = suites_table(self.evaluations)
        if suites.row_count:
            console.print(suites)
        console.print(seconds_table(self.stages))
        if self.difference is not None:
            console.print(describe_difference(self.difference), highlight=False, soft_wrap=True)
        if self.picture is not None:
            console.print(f"Picture: {self.picture}", highlight=False, soft_wrap=True)
        console.print("\nNext:", highlight=False)
        for command in self.commands:
            # Soft wrap: a command that is cut by the terminal's width cannot be copied.
            console.print(f"  {command}", highlight=False, markup=False, soft_wrap=True)


def show_report(made: Report) -> None:
    """Show a report on the screen."""
    from rich.console import Console

    # Piped output has no width of its own; 80 columns would break the table's lines.
    made.print(Console(width=None if sys.stdout.isatty() else _WIDTH))


def write_report(made: Report, config: RunConfig) -> Path:
    """Keep the report as text in the run's folder."""
    from rich.console import Console

    path = config.folder / _REPORT_FILE
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        made.print(Console(file=file, width=_WIDTH, color_system=None))
    partial.replace(path)
    return path


def has_report(config: RunConfig) -> bool:
    """Whether the run's report was kept, which is the last thing that a run does."""
    return (config.folder / _REPORT_FILE).exists()


def report(reader: Reader, config: RunConfig) -> Report:
    """The report of a run, from its tables."""
    name = config.name
    evaluations = reader.arrow("evaluations", run=name).to_pylist()
    columns = ["iteration", "stage", "attempt", "seconds", "measures"]
    stages = latest_attempts(reader.arrow("stages", run=name, columns=columns).to_pylist())
    columns = ["iteration", "verdict", "kept"]
    chosen = reader.arrow("selections", run=name, columns=columns).to_pylist()
    picture = None
    if evaluations:
        picture = accuracy_picture(evaluations, config.folder / "accuracy.png", name)
    return Report(
        name,
        evaluations,
        stages,
        count_selected(chosen),
        _difference(reader, config, evaluations),
        picture,
        next_commands(config, _a_sample(reader, name), _mlflow_run(reader, name)),
    )


def count_selected(selections: Sequence[Row]) -> dict[int, Selected]:
    """Iteration -> what the E-step gave and what was kept of it."""
    verdicts: dict[int, list[Row]] = {}
    for row in selections:
        verdicts.setdefault(row["iteration"], []).append(row)
    return {
        iteration: Selected(
            len(rows),
            sum(row["verdict"] == CORRECT for row in rows),
            sum(row["kept"] for row in rows),
        )
        for iteration, rows in verdicts.items()
    }


def latest_attempts(stages: Sequence[Row]) -> list[Row]:
    """Each stage's last sealed attempt."""
    ordered = sorted(stages, key=lambda row: row["attempt"])
    return list({(row["iteration"], row["stage"]): row for row in ordered}.values())


def iteration_table(
    evaluations: Sequence[Row], selections: Mapping[int, Selected], name: str
) -> Table:
    """One row a policy: the samples it was made from, and how it does."""
    from rich.table import Table

    found = {(row["iteration"], row["suite"], row["metric"]): row for row in evaluations}
    extra = pass_metrics(evaluations)
    headers = ["sampled", "correct", "kept", "D_val", "test greedy [95 % interval]"]
    table = Table(
        title=f"{name}: policies by iteration (0 is the base model)", title_justify="left"
    )
    table.add_column("iteration", justify="right")
    for header in [*headers, *(metric.replace("_at_", "@") for metric in extra)]:
        table.add_column(header, justify="right")
    for i in sorted({row["iteration"] for row in evaluations}):
        row = [
            *_selection_cells(selections.get(i)),
            _percent(found.get((i, "validation", "greedy_accuracy"))),
            _percent_with_interval(found.get((i, "test", "greedy_accuracy"))),
            *(_percent(found.get((i, "test", metric))) for metric in extra),
        ]
        table.add_row(str(i), *row)
    return table


def suites_table(evaluations: Sequence[Row]) -> Table:
    """One row a suite, one column an iteration: greedy accuracy, the means over tasks among them."""
    from rich.table import Table

    found = {
        (row["suite"], row["iteration"]): row
        for row in evaluations
        if row["metric"] == "greedy_accuracy" and row["suite"] not in RUN_SPLITS
    }
    iterations = sorted({iteration for _, iteration in found})
    table = Table(
        title="Suites: greedy accuracy by iteration [95 % interval]", title_justify="left"
    )
    for header in ["suite", *map(str, iterations)]:
        table.add_column(header, justify="left" if header == "suite" else "right")
    for suite in dict.fromkeys(suite for suite, _ in found):
        table.add_row(suite, *(_percent_with_interval(found.get((suite, i))) for i in iterations))
    return table


def seconds_table(stages: Sequence[Row]) -> Table:
    """One row an iteration: seconds a stage, and the engine's speed."""
    from rich.table import Table

    seconds = {(row["iteration"], row["stage"]): row["seconds"] for row in stages}
    measures = {
        row["iteration"]: json.loads(row["measures"])
        for row in stages
        if row["stage"] == "generate"
    }
    shown = [stage for stage in _TIMED_STAGES if any(name == stage for _, name in seconds)]
    table = Table(title="Seconds a stage", title_justify="left")
    for header in ["iteration", *shown, "all", "tokens", "tokens/s"]:
        table.add_column(header, justify="right")
    for i in sorted({iteration for iteration, _ in seconds}):
        total = sum(value for (iteration, _), value in seconds.items() if iteration == i)
        speed = measures.get(i, {})
        table.add_row(
            str(i),
            *(_number(seconds.get((i, stage)), ".1f") for stage in shown),
            f"{total:.0f}",
            _number(speed.get("tokens"), ",.0f"),
            _number(speed.get("tokens_per_second"), ",.0f"),
        )
    return table


def as_text(table: Table, width: int = _WIDTH) -> str:
    """A table as plain text."""
    import io

    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    return out.getvalue()


def describe_difference(difference: Estimate) -> str:
    """The gain over the base model in one sentence."""
    return (
        f"Greedy test accuracy, last policy minus base, paired over {difference.n} problems: "
        f"{100 * difference.value:+.1f} points "
        f"(95 % interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f})."
    )


def paired_verdicts(base: Verdicts, final: Verdicts, config: RunConfig) -> Estimate | None:
    """Final minus base on the problems that both answered; None if there are none."""
    from pipelines.metrics.estimates import paired_difference

    shared = sorted(base.keys() & final.keys())
    if not shared:
        return None
    return paired_difference(
        [base[problem] for problem in shared],
        [final[problem] for problem in shared],
        config.evaluation.num_bootstrap,
        (config.seed,),
    )


def next_commands(
    config: RunConfig, sample_id: str | None = None, mlflow_run_id: str | None = None
) -> list[str]:
    """What to type next, exactly: SQL, one sample's story, MLflow, the user's own problems."""
    restem = _program()
    run = config.name
    query = (
        "SELECT iteration, verdict, count(*) AS samples FROM sample_verdicts "
        "GROUP BY iteration, verdict ORDER BY iteration, samples DESC"
    )
    commands = [f'{restem} sql "{query}" --run {run}']
    if sample_id is not None:
        commands.append(f"{restem} explain {sample_id}")
    if config.mlflow.enabled:
        commands.append(_to_mlflow(config.mlflow.tracking_uri, mlflow_run_id))
    own = "problems.sources=[{kind: jsonl, location: problems.jsonl}]"
    commands.append(f"{restem} run configs/quickstart.yaml --name mine --set '{own}'")
    return commands


def _to_mlflow(tracking_uri: str, run_id: str | None) -> str:
    """How the run's own page is opened: MLflow starts on another one, which knows nothing of it."""
    served = tracking_uri.startswith(("http://", "https://"))
    page = f"{tracking_uri.rstrip('/') if served else _MLFLOW_HERE}/#/runs/{run_id}"
    if served:
        return f"open {page}" if run_id else f"open {tracking_uri}"
    return f"make mlflow   # then open {page}" if run_id else "make mlflow"


def _program() -> str:
    """How this environment's `restem` is typed."""
    if shutil.which("restem"):
        return "restem"
    here = Path(sys.executable).parent / "restem"
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)


def _difference(reader: Reader, config: RunConfig, evaluations: Sequence[Row]) -> Estimate | None:
    iterations = [row["iteration"] for row in evaluations]
    if not iterations or max(iterations) == 0:
        return None
    base, final = (_greedy_verdicts(reader, config.name, i) for i in (0, max(iterations)))
    return paired_verdicts(base, final, config)


def _greedy_verdicts(reader: Reader, run: str, iteration: int) -> dict[str, bool]:
    columns = ["sample_id", "problem_id", "purpose", "decoding"]
    samples = reader.arrow("samples", run=run, iteration=iteration, columns=columns).to_pylist()
    columns = ["sample_id", "verdict"]
    # Those that the evaluations were made from: the difference is to fit them.
    rewards = reader.arrow("evaluated_rewards", run=run, iteration=iteration, columns=columns)
    verdict = {row["sample_id"]: row["verdict"] for row in rewards.to_pylist()}
    return {
        row["problem_id"]: verdict.get(row["sample_id"]) == CORRECT
        for row in samples
        if row["purpose"] == "test" and row["decoding"] == "greedy"
    }


def _mlflow_run(reader: Reader, run: str) -> str | None:
    ids = reader.arrow("runs", run=run, columns=["mlflow_run_id"]).column(0).to_pylist()
    return ids[0] if ids else None


def _a_sample(reader: Reader, run: str) -> str | None:
    rows = reader.arrow("training_set", run=run, columns=["sample_id"]).column(0)
    return str(rows[0].as_py()) if len(rows) else None


def _selection_cells(chosen: Selected | None) -> tuple[str, str, str]:
    if chosen is None:
        return (_NONE, _NONE, _NONE)
    return (f"{chosen.sampled:,}", f"{chosen.correct:,}", f"{chosen.kept:,}")


def _percent(row: Row | None) -> str:
    return _NONE if row is None else f"{100 * row['value']:.1f} %"


def _percent_with_interval(row: Row | None) -> str:
    if row is None:
        return _NONE
    return f"{_percent(row)} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)
