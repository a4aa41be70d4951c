"""How the commands print: tables that fit a terminal, plain text in a pipe or a file."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from pipelines.lake.query_results import Row

_GAP = 2
_NARROWEST = 14
"""A text column is cut to this width before a table is printed as a list of records."""
_WIDEST = 80
_FIGURES = re.compile(r"[\d .,:%+/\[\]-]*")
"""Numbers, intervals, durations, times: a part of one would be wrong, so they are never cut."""
_PLAIN_WIDTH = 10_000
_LOG_WIDTH = 80
"""Width of tables that are not cut or wrapped, but printed in blocks of columns, in a file."""
STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


class _QuietConsole(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # the command line ends quietly; rich would exit with 1


def console(file: IO[str] | None = None) -> Console:
    """A console on standard output, or on a file: colors in a terminal, else no wrapping."""
    made = _QuietConsole(file=file, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _PLAIN_WIDTH
    return made


def heading(out: Console, text: str) -> None:
    """A line that opens a section."""
    out.print(f"\n{text}", style="bold")


def table(
    out: Console,
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str] | None = None,
    right: Collection[str] = (),
) -> None:
    """Print rows as a table, or as records where they are too wide for the terminal.

    Args:
        out: where to.
        rows: column -> value.
        columns: columns to print; those of the first row if None.
        right: columns that are aligned right, as numbers are.
    """
    names = list(columns or (rows[0] if rows else ()))
    if not names:
        return
    cells = [[cell(row.get(name)) for name in names] for row in rows]
    layout = _layout(names, cells, out.width)
    if layout is None:
        _print_records(out, names, cells)
        return
    aligned = [name in right or _is_numeric([row.get(name) for row in rows]) for name in names]
    _print_grid(out, names, cells, aligned, *layout)


def table_in_blocks(out: Console, rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows whose columns but the first are alike, in several tables if they are too wide.

    Each table repeats the first column. In a log each is at most 80 characters wide, if that holds
    one column.

    Args:
        out: where to.
        rows: column -> value, all with the same columns.
    """
    label, *columns = rows[0]
    room = out.width if out.width < _PLAIN_WIDTH else _LOG_WIDTH
    widths = {name: max(len(name), *(len(cell(r[name])) for r in rows)) for name in rows[0]}
    blocks: list[list[str]] = []
    free = 0
    for name in columns:
        if not blocks or free < widths[name] + _GAP:
            blocks.append([])
            free = room - widths[label]
        blocks[-1].append(name)
        free -= widths[name] + _GAP
    for number, block in enumerate(blocks):
        if number:
            out.print()
        table(out, rows, [label, *block], right=block)


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


def _is_numeric(values: Sequence[object]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in known
    )


def _layout(names: list[str], cells: list[list[str]], room: int) -> tuple[list[int], int] | None:
    """Widths of the columns and of the gap between them; None if the table does not fit.

    To fit, headers are wrapped, then text is cut, longest column first, then the gap is halved.
    """
    columns = range(len(names))
    whole_only = [all(_FIGURES.fullmatch(row[i]) for row in cells) for i in columns]
    longest = [max((len(row[i]) for row in cells), default=0) for i in columns]
    word = [max(map(len, name.split()), default=0) for name in names]
    whole = [min(max(len(names[i]), longest[i]), _WIDEST) for i in columns]
    wrapped = [min(max(word[i], longest[i]), _WIDEST) for i in columns]
    floors = [
        width if whole_only[i] else min(width, max(word[i], _NARROWEST))
        for i, width in enumerate(wrapped)
    ]
    for gap in (_GAP, 1):
        free = room - gap * (len(names) - 1)
        if sum(whole) <= free:
            return whole, gap
        if sum(floors) <= free:
            widths = list(wrapped)
            while sum(widths) > free:
                spare = [width - floor for width, floor in zip(widths, floors, strict=True)]
                widths[spare.index(max(spare))] -= 1
            return widths, gap
    return None


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _print_grid(
    out: Console,
    names: list[str],
    cells: list[list[str]],
    right: list[bool],
    widths: list[int],
    gap: int,
) -> None:
    def line(row: list[str]) -> str:
        fitted = zip(row, widths, right, strict=True)
        parts = [_cut(t, w).rjust(w) if r else _cut(t, w).ljust(w) for t, w, r in fitted]
        return (" " * gap).join(parts).rstrip()

    headers = [textwrap.wrap(name, width) for name, width in zip(names, widths, strict=True)]
    height = max(map(len, headers))
    for level in range(height):
        parts = [[""] * (height - len(header)) + header for header in headers]
        header_line = line([part[level] for part in parts])
        out.print(header_line, style="bold", no_wrap=True, overflow="ignore", crop=False)
    for row in cells:
        out.print(line(row), no_wrap=True, overflow="ignore", crop=False)


def _print_records(out: Console, names: list[str], cells: list[list[str]]) -> None:
    wide = max(len(name) for name in names)
    for number, row in enumerate(cells, 1):
        out.print(f"row {number}", style="bold")
        for name, text in zip(names, row, strict=True):
            out.print(f"  {name.ljust(wide)}  {_cut(text, max(out.width - wide - 4, 20))}")
