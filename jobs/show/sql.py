"""Print the answer of a query."""

from __future__ import annotations

import csv
import json
import sys
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from pipelines.lake.answers import rows_of

if TYPE_CHECKING:
    import pyarrow as pa

_TABLE_LIMIT = 50


def show_answer(answer: pa.Table, style: str, limit: int | None) -> None:
    """Print rows.

    Args:
        answer: the rows.
        style: `table` cuts long text to the terminal; `csv` and `json` never do.
        limit: rows to print; None: 50 in a table, all otherwise.
    """
    if style == "table":
        _table(answer, limit or _TABLE_LIMIT)
        return
    shown = answer if limit is None else answer.slice(0, limit)
    if style == "csv":
        _csv(shown)
    else:
        _json(shown)


def _table(answer: pa.Table, limit: int) -> None:
    from jobs.show.console import console, table

    out = console()
    table(out, rows_of(answer.slice(0, limit)), answer.column_names)
    rest = answer.num_rows - limit
    count = f"{answer.num_rows:,} row{'s' * (answer.num_rows != 1)}"
    if rest > 0:
        count = f"first {limit:,} of {count}; --limit N or --format csv shows more"
    out.print(f"({count})", style="dim")


def _csv(answer: pa.Table) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.column_names)
    for row in rows_of(answer):
        writer.writerow([_flat(value) for value in row.values()])


def _flat(value: object) -> object:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return value.isoformat() if isinstance(value, date | datetime) else value


def _json(answer: pa.Table) -> None:
    """One array, one line a row: whole as JSON, and readable line by line."""
    lines = [_object(row) for row in rows_of(answer)]
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n")


def _object(row: dict[str, Any]) -> str:
    # JSON has no NaN or infinity.
    odd = {k: None for k, v in row.items() if isinstance(v, float) and not -1e308 <= v <= 1e308}
    return json.dumps({**row, **odd}, ensure_ascii=False, default=_text)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
