"""The plot of a run: accuracy by iteration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.results.grading.totals import DISAGREEMENT, SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pipelines.lake.query_results import Row

_SHARES = ("accuracy", "solved_share", "train_test_gap", SHARE, DISAGREEMENT)
_PASS_COLORS = ("#d1731a", "#3a8f4d", "#8b5fb0")


def plot_accuracy(evaluations: Sequence[Row], path: Path, name: str) -> Path:
    """Write accuracy by iteration with 95 % intervals as a PNG file; its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(6.4, 3.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _plot_curve(axes, evaluations, ("test", "greedy_accuracy"), "test, greedy", "#0b5fa5", "-")
    names = {row["metric"] for row in evaluations if row["suite"] == "test"}
    passes = [metric for metric in ranked_metrics(names) if metric.startswith("pass")]
    for metric, color in zip(passes, _PASS_COLORS, strict=False):
        label = f"test, {metric.replace('_at_', '@')}"
        _plot_curve(axes, evaluations, ("test", metric), label, color, "-")
    _plot_curve(
        axes, evaluations, ("validation", "greedy_accuracy"), "D_val, greedy", "#777777", "--"
    )
    axes.set_title(f"{name}: accuracy by iteration", fontsize=11, loc="left")
    axes.set_xlabel("iteration (0: base model)")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))
    return path


def ranked_metrics(names: Collection[str]) -> list[str]:
    """The pass@k and maj@k among the names of metrics, pass first, k rising."""
    ranked = [name for name in names if name.startswith(("pass_at_", "maj_at_"))]
    # maj@1 is pass@1.
    shown = [name for name in ranked if name != "maj_at_1"]
    return sorted(shown, key=lambda name: (name.startswith("maj"), int(name.rsplit("_", 1)[1])))


def is_share(metric: str) -> bool:
    """Whether a metric is a share of problems or samples, and not a sum or a mean reward."""
    name = metric.rpartition("/")[2]
    return name.endswith(_SHARES) or name.startswith(("pass_at_", "maj_at_", "agreement_with_"))


def _plot_curve(
    axes: Axes,
    evaluations: Sequence[Row],
    curve: tuple[str, str],
    label: str,
    color: str,
    style: str,
) -> None:
    """Plot one (suite, metric) by iteration, with a band for the test suite's interval."""
    points = sorted(
        (row for row in evaluations if (row["suite"], row["metric"]) == curve),
        key=lambda row: row["iteration"],
    )
    if not points:
        return
    x = [row["iteration"] for row in points]
    axes.plot(x, [row["value"] for row in points], style, color=color, marker="o", label=label)
    if curve[0] == "test":
        low, high = ([row[end] for row in points] for end in ("ci_low", "ci_high"))
        axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
