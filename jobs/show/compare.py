"""Print runs side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rich.console import Console

from jobs.show.console import cell, console, heading, seconds, table, with_interval
from pipelines.results.compare import Comparison, PairedDifference


def show_comparison(comparison: Comparison) -> None:
    """Print the settings that differ, the evaluations, the paired differences and the cost."""
    out = console()
    runs = comparison.runs
    heading(out, "Settings that differ")
    settings = {
        name: [json.dumps(value, ensure_ascii=False) for value in values]
        for name, values in comparison.settings.items()
    }
    _side_by_side(out, runs, "setting", settings, none="none")
    heading(out, "Evaluations (95 % interval)")
    evaluations = {
        f"{suite} {metric}, iteration {iteration}": [with_interval(row) for row in rows]
        for (suite, metric, iteration), rows in comparison.evaluations.items()
    }
    _side_by_side(out, runs, "metric", evaluations, none="none yet")
    heading(out, "Final policies on the same test problems (greedy, paired, 95 % interval)")
    if not comparison.differences:
        out.print("  no test problem is shared")
    for difference in comparison.differences:
        out.print(_paired_line(difference))
    heading(out, "Cost")
    costs = {
        name: [cost_text(name, value) for value in values]
        for name, values in comparison.costs.items()
    }
    _side_by_side(out, runs, "what", costs, none="nothing yet")


def _paired_line(pair: PairedDifference) -> str:
    gain = pair.gain
    has_zero = gain.low <= 0 <= gain.high
    return (
        f"  {pair.run} - {pair.baseline}: {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] on "
        f"{gain.n:,} problems; {pair.wins} only by {pair.run}, {pair.losses} only by "
        f"{pair.baseline}; the interval {'includes' if has_zero else 'excludes'} 0"
    )


def _side_by_side(
    out: Console, runs: list[str], what: str, values: Mapping[str, Sequence[str]], none: str
) -> None:
    if not values:
        out.print(f"  {none}")
    table(out, [{what: name} | dict(zip(runs, row, strict=True)) for name, row in values.items()])


def cost_text(name: str, value: int | float | None) -> str:
    """A cost for people; `name` is its name in `Comparison.costs`."""
    if name.startswith("seconds"):
        return seconds(value)
    return f"{value:,}" if isinstance(value, int) else cell(value)
