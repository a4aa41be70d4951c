"""How the commands print: tables that fit a terminal, and stay plain in a pipe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

Row = Mapping[str, Any]

_NARROWEST = 14
"""A text column is cut to so many characters before a table becomes a list of records."""
_WIDEST = 80
_PIPE_WIDTH = 10_000
STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def console() -> Console:
    """Standard output: colors in a terminal, and no wrapping in a pipe."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # the command line ends quietly; rich would exit with 1

    plain = Output(highlight=False, markup=False, emoji=False)
    if not plain.is_terminal:
        plain.width = _PIPE_WIDTH
    return plain


def heading(out: Console, text: str) -> None:
    """A line that opens a section."""
    out.print(f"\n{text}", style="bold")


def table(out: Console, rows: Sequence[Row], columns: Sequence[str] | None = None) -> None:
    """Print rows as a table, or as records where they are too wide for the terminal."""
    names = list(columns or (rows[0] if rows else ()))
    if not names:
        return
    cells = [[cell(row.get(name)) for name in names] for row in rows]
    widths = _widths(names, cells, out.width)
    if widths is None:
        _records(out, names, cells)
    else:
        _grid(out, names, cells, widths, [_is_number(rows, name) for name in names])


def cell(value: object) -> str:
    """A value on one line, for people."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)
    return text.replace("\r", "").replace("\n", "⏎").replace("\t", " ").rstrip()


def seconds(value: float | None) -> str:
    """A duration, such as 48 s, 3:05 or 1:02:03."""
    if value is None:
        return "-"
    if value < 100:
        return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def with_interval(row: Row | None) -> str:
    """An evaluation with its 95 % interval."""
    if row is None:
        return "-"
    return f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


def _is_number(rows: Iterable[Row], name: str) -> bool:
    values = [row.get(name) for row in rows if row.get(name) is not None]
    return bool(values) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )


def _widths(names: list[str], cells: list[list[str]], room: int) -> list[int] | None:
    """Widths of columns that fit the room, longest cut first; None if they cannot."""
    longest = [max([len(row[i]) for row in cells], default=0) for i in range(len(names))]
    widths = [min(max(len(name), n), _WIDEST) for name, n in zip(names, longest, strict=True)]
    floors = [min(width, max(len(n), _NARROWEST)) for n, width in zip(names, widths, strict=True)]
    room -= 2 * (len(names) - 1)
    while sum(widths) > room:
        spare = [width - floor for width, floor in zip(widths, floors, strict=True)]
        if max(spare) <= 0:
            return None
        widths[spare.index(max(spare))] -= 1
    return widths


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _grid(
    out: Console, names: list[str], cells: list[list[str]], widths: list[int], right: list[bool]
) -> None:
    def line(row: list[str]) -> str:
        fitted = zip(row, widths, right, strict=True)
        parts = [_cut(t, w).rjust(w) if r else _cut(t, w).ljust(w) for t, w, r in fitted]
        return "  ".join(parts).rstrip()

    out.print(line(names), style="bold", no_wrap=True, overflow="ignore", crop=False)
    for row in cells:
        out.print(line(row), no_wrap=True, overflow="ignore", crop=False)


def _records(out: Console, names: list[str], cells: list[list[str]]) -> None:
    wide = max(len(name) for name in names)
    for number, row in enumerate(cells, 1):
        out.print(f"row {number}", style="bold")
        for name, text in zip(names, row, strict=True):
            out.print(f"  {name.ljust(wide)}  {_cut(text, max(out.width - wide - 4, 20))}")
