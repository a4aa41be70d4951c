"""Print runs side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jobs.show.console import cell, console, heading, seconds, table, with_interval

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.results.compare import Comparison


def show_comparison(comparison: Comparison) -> None:
    """Print what was set differently, what came out, and what it cost."""
    out = console()
    runs = comparison.runs
    heading(out, "Settings that differ")
    settings = {
        name: [json.dumps(v, ensure_ascii=False) for v in values]
        for name, values in comparison.settings.items()
    }
    _side_by_side(out, runs, "setting", settings, "  none")
    heading(out, "Evaluations (95 % interval)")
    scores = {
        f"{suite} {metric}, iteration {iteration}": [with_interval(row) for row in rows]
        for (suite, metric, iteration), rows in comparison.evaluations.items()
    }
    _side_by_side(out, runs, "metric", scores, "  none yet")
    _differences(out, comparison)
    heading(out, "Cost")
    costs = {name: [_cost(name, v) for v in values] for name, values in comparison.costs.items()}
    _side_by_side(out, runs, "what", costs, "  nothing yet")


def _differences(out: Console, comparison: Comparison) -> None:
    heading(out, "Final policies on the same test problems (greedy, paired, 95 % interval)")
    if not comparison.differences:
        out.print("  no test problem is shared")
    for pair in comparison.differences:
        sure = pair.ci_low > 0 or pair.ci_high < 0
        out.print(
            f"  {pair.run} - {pair.against}: {pair.difference:+.3f} "
            f"[{pair.ci_low:+.3f}, {pair.ci_high:+.3f}] on {pair.n:,} problems; "
            f"{pair.wins} only by {pair.run}, {pair.losses} only by {pair.against}; "
            f"the interval {'excludes' if sure else 'includes'} 0"
        )


def _side_by_side(
    out: Console, runs: list[str], what: str, values: dict[str, list[Any]], none: str
) -> None:
    if not values:
        out.print(none)
        return
    rows = [{what: name, **dict(zip(runs, row, strict=True))} for name, row in values.items()]
    table(out, rows)


def _cost(name: str, value: Any) -> str:
    if name.startswith("seconds"):
        return seconds(value)
    return f"{value:,}" if isinstance(value, int) else cell(value)
