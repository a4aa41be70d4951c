"""The plots of a report as data: series of points, which the page draws and also shows as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipelines.lake.query_results import Row
from pipelines.results.figures import is_share, ranked_metrics
from pipelines.results.overview import RunOverview
from schemas.problems import TEST, TRAIN
from schemas.rewards import CORRECT
from schemas.selections import KEPT

_FIRST = (TEST, "greedy_accuracy")


class Kind(StrEnum):
    """How the series are drawn."""

    LINES = "lines"
    STACKED = "stacked"


@dataclass(frozen=True)
class Series:
    """Points that belong together; `low` and `high` are the ends of their 95 % intervals."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    n: Sequence[int] | None = None
    """Number of problems of each point."""


@dataclass(frozen=True)
class Choice:
    """One of the pictures that a plot can show."""

    label: str
    y: str
    """What is on the vertical axis."""
    series: list[Series]


@dataclass(frozen=True)
class Plot:
    """A plot and its choices, of which the first is shown."""

    id: str
    title: str
    about: str
    x: str
    """What is on the horizontal axis."""
    choices: list[Choice]
    kind: Kind = Kind.LINES
    logarithmic: bool = field(default=False, kw_only=True)


def plots(runs: Sequence[RunOverview]) -> list[Plot]:
    """The plots of a report on some runs; those without a point are left out."""
    made = [
        _accuracy(runs),
        _gap(runs),
        _pass_at_k(runs),
        _verdicts(runs),
        _reasons(runs),
        _difficulty(runs),
        _m_step(runs),
        _seconds(runs),
    ]
    return [plot for plot in made if plot.choices]


def _accuracy(runs: Sequence[RunOverview]) -> Plot:
    keys = {(row["suite"], row["metric"]) for run in runs for row in run.evaluations}
    ordered = sorted(keys, key=lambda key: (key != _FIRST, key[0] != TEST, *key))
    choices = []
    for suite, metric in ordered:
        several = [_curve(run, suite, metric, run.name) for run in runs]
        choices.append(Choice(f"{suite}, {_words(metric)}", _unit(metric), _drawn(several)))
    return Plot(
        "accuracy",
        "Accuracy by iteration",
        "Iteration 0 is the base model. Bars are 95 % intervals over problems.",
        "iteration",
        choices,
    )


def _gap(runs: Sequence[RunOverview]) -> Plot:
    choices = []
    for run in runs:
        several = [
            _curve(run, TRAIN, "pass_at_1", "train, pass@1"),
            _curve(run, TEST, "pass_at_1", "test, pass@1"),
            _curve(run, TEST, "greedy_accuracy", "test, greedy"),
        ]
        if several[0].x and (several[1].x or several[2].x):
            choices.append(Choice(run.name, "%", _drawn(several)))
    return Plot(
        "gap",
        "Training problems and test problems",
        "A gap that grows with the iterations is overfitting. pass@1 is the accuracy of sampled "
        "solutions, which lies below that of greedy ones.",
        "iteration",
        choices,
    )


def _pass_at_k(runs: Sequence[RunOverview]) -> Plot:
    choices = []
    for suite in sorted({r["suite"] for run in runs for r in run.evaluations}, key=_test_first):
        for kind in ("pass", "maj"):
            several = [s for run in runs for s in _by_k(run, suite, kind)]
            if several and max(len(series.x) for series in several) > 1:
                choices.append(Choice(f"{suite}, {kind}@k", "%", several))
    return Plot(
        "pass-at-k",
        "pass@k and maj@k",
        "The base model and the last policy. pass@k: one of k samples is correct; maj@k: the "
        "majority answer of k is.",
        "k",
        choices,
        logarithmic=True,
    )


def _by_k(run: RunOverview, suite: str, kind: str) -> list[Series]:
    """pass@k or maj@k of the base model and of the last policy."""
    rows = [row for row in run.evaluations if row["suite"] == suite]
    names = [n for n in ranked_metrics({r["metric"] for r in rows}) if n.startswith(kind)]
    iterations = sorted({row["iteration"] for row in rows if row["metric"] in names})
    made = []
    for i in dict.fromkeys([*iterations[:1], *iterations[-1:]]):
        found = {row["metric"]: row for row in rows if row["iteration"] == i}
        points = [(int(n.rsplit("_", 1)[1]), found[n]) for n in names if n in found]
        made.append(_series(f"{run.name}, iteration {i}", points, 100))
    return made


def _verdicts(runs: Sequence[RunOverview]) -> Plot:
    choices = []
    for run in runs:
        groups = sorted(
            {(row["purpose"], row["decoding"]) for row in run.verdicts},
            key=lambda group: (group[0] != TRAIN, *group),
        )
        for purpose, decoding in groups:
            rows = [r for r in run.verdicts if (r["purpose"], r["decoding"]) == (purpose, decoding)]
            label = f"{run.name}, {purpose}, {decoding}"
            choices.append(Choice(label, "samples, %", _shares(rows, "verdict")))
    return Plot(
        "verdicts",
        "Verdicts by iteration",
        "Of all samples, not only of those that can be browsed.",
        "iteration",
        choices,
        Kind.STACKED,
    )


def _reasons(runs: Sequence[RunOverview]) -> Plot:
    choices = [
        Choice(run.name, "samples, %", _shares(run.reasons, "reason"))
        for run in runs
        if run.reasons
    ]
    return Plot(
        "reasons",
        "Kept for training, or why not",
        "Of the samples of training problems, by the iteration whose policy was trained.",
        "iteration",
        choices,
        Kind.STACKED,
    )


def _difficulty(runs: Sequence[RunOverview]) -> Plot:
    choices = []
    for run in runs:
        several = []
        for name in dict.fromkeys(row["difficulty"] for row in run.rates):
            rows = [row for row in run.rates if row["difficulty"] == name]
            several.append(
                Series(
                    name,
                    [row["iteration"] for row in rows],
                    [100 * row["share"] for row in rows],
                    n=[row["problems"] for row in rows],
                )
            )
        if several:
            choices.append(Choice(run.name, "correct samples, %", several))
    return Plot(
        "difficulty",
        "Correct training samples by difficulty",
        "Problems are grouped by the share of the base model's samples that are correct. The points of "
        "iteration 0 follow from this grouping, and a part of the change to iteration 1 is regression "
        "to the mean.",
        "iteration",
        choices,
    )


def _m_step(runs: Sequence[RunOverview]) -> Plot:
    choices = []
    for run in runs:
        for name, unit, factor in (
            ("validation_reward", "mean reward", 1),
            ("train_loss", "loss", 1),
        ):
            several = [
                Series(
                    f"policy {iteration}",
                    [epoch["epoch"] for epoch in epochs if epoch.get(name) is not None],
                    [epoch[name] * factor for epoch in epochs if epoch.get(name) is not None],
                )
                for iteration, epochs in run.histories.items()
            ]
            if any(series.x for series in several):
                label = {"validation_reward": "reward on D_val", "train_loss": "training loss"}
                choices.append(Choice(f"{run.name}, {label[name]}", unit, _drawn(several)))
    return Plot("m-step", "Fine-tuning by epoch", "The M-step of each iteration.", "epoch", choices)


def _seconds(runs: Sequence[RunOverview]) -> Plot:
    choices = []
    for run in runs:
        names = dict.fromkeys(row["stage"] for row in run.stages)
        several = []
        for name in names:
            rows = [row for row in run.stages if row["stage"] == name]
            rows.sort(key=lambda row: row["iteration"])
            x = [row["iteration"] for row in rows]
            several.append(Series(name, x, [row["seconds"] for row in rows]))
        if several:
            choices.append(Choice(run.name, "seconds", several))
    return Plot(
        "seconds",
        "Seconds by stage",
        "Wall time of the last attempt at each stage, all starts.",
        "iteration",
        choices,
        Kind.STACKED,
    )


def _curve(run: RunOverview, suite: str, metric: str, name: str) -> Series:
    rows = [row for row in run.evaluations if (row["suite"], row["metric"]) == (suite, metric)]
    return _series(name, [(row["iteration"], row) for row in rows], _factor(metric))


def _series(name: str, points: Sequence[tuple[int, Row]], factor: float) -> Series:
    def scaled(column: str) -> list[float]:
        return [factor * row[column] for _, row in points]

    return Series(
        name,
        [x for x, _ in points],
        scaled("value"),
        scaled("ci_low"),
        scaled("ci_high"),
        [row["n"] for _, row in points],
    )


def _shares(rows: Iterable[Row], of: str) -> list[Series]:
    """Percent of an iteration's samples by the value of a column."""
    by_iteration: dict[int, dict[str, int]] = {}
    for row in rows:
        by_iteration.setdefault(row["iteration"], {})[row[of]] = row["samples"]
    names = {name: None for found in by_iteration.values() for name in found}
    return [
        Series(
            name,
            sorted(by_iteration),
            [
                100 * found.get(name, 0) / sum(found.values())
                for _, found in sorted(by_iteration.items())
            ],
            n=[found.get(name, 0) for _, found in sorted(by_iteration.items())],
        )
        for name in sorted(names, key=lambda name: name not in (CORRECT, KEPT))
    ]


def _drawn(several: Sequence[Series]) -> list[Series]:
    return [series for series in several if series.x]


def _words(metric: str) -> str:
    return metric.replace("_at_", "@").replace("_", " ").replace("/", ": ")


def _factor(metric: str) -> float:
    return 100 if is_share(metric) else 1


def _unit(metric: str) -> str:
    return "%" if is_share(metric) else _words(metric)


def _test_first(suite: str) -> tuple[bool, str]:
    return suite != TEST, suite
