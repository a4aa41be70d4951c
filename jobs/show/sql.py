"""Print the result of a query."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from datetime import date, datetime

import pyarrow as pa

from jobs.show.console import console, table
from pipelines.lake.query_results import python_rows

_TABLE_LIMIT = 50


def show_result(result: pa.Table, style: str, limit: int | None) -> None:
    """Print rows.

    Args:
        result: the rows.
        style: `table` cuts long text to fit the terminal; `csv` and `json` never do.
        limit: maximum number of rows printed; None: 50 in a table, all otherwise.
    """
    if style == "table":
        _print_table(result, limit or _TABLE_LIMIT)
    elif style == "csv":
        _print_csv(result.slice(0, limit))
    else:
        _print_json(result.slice(0, limit))


def _print_table(result: pa.Table, limit: int) -> None:
    out = console()
    table(out, python_rows(result.slice(0, limit)), result.column_names)
    count = f"{result.num_rows:,} row{'s' * (result.num_rows != 1)}"
    if result.num_rows > limit:
        count = f"first {limit:,} of {count}; --limit N or --format csv shows more"
    out.print(f"({count})", style="dim")


def _print_csv(result: pa.Table) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.column_names)
    for row in python_rows(result):
        writer.writerow([_csv_value(value) for value in row.values()])


def _csv_value(value: object) -> object:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return value.isoformat() if isinstance(value, date | datetime) else value


def _print_json(result: pa.Table) -> None:
    """Print one array with a line per row: valid JSON as a whole, and readable line by line."""
    lines = [_json_object(row) for row in python_rows(result)]
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n")


def _json_object(row: Mapping[str, object]) -> str:
    # JSON has no NaN or infinity.
    odd = {k: None for k, v in row.items() if isinstance(v, float) and not -1e308 <= v <= 1e308}
    return json.dumps({**row, **odd}, ensure_ascii=False, default=_text)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
