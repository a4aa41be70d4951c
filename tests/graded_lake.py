"""A lake with one finished run whose suite `test` can be graded by hand: 4 problems, 3 policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltalake import write_deltalake

from pipelines.config import RunConfig
from schemas import TABLES
from tests import factories
from tests.lake_fixture import Rows, run_rows

RUN = "first"


def config(folder: Path) -> RunConfig:
    """The run's configuration."""
    return RunConfig.model_validate(
        {
            "name": RUN,
            "output": str(folder / "data"),
            "problems": {"sources": [{"kind": "jsonl", "location": "x.jsonl"}]},
            "lake": {"uri": str(folder / "lake")},
            "mlflow": {"enabled": False},
        }
    )


def graded_rows(folder: Path) -> Rows:
    """The run's rows, no marks among them."""
    rows = run_rows(RUN)
    rows["runs"][0]["config"] = config(folder).model_dump_json()
    rows["grades"] = []
    return rows


def write_graded_lake(folder: Path, rows: Rows | None = None) -> Path:
    """Write the lake into `folder`/lake."""
    rows = graded_rows(folder) if rows is None else rows
    for table in TABLES:
        made: list[dict[str, Any]] = rows[table.name]
        arrow = factories.arrow(table, *made)
        write_deltalake(
            folder / "lake" / table.name,
            arrow if made else arrow.slice(0, 0),
            partition_by=list(table.partition_by),
        )
    return folder / "lake"
