"""How many rows and bytes each run has in each table, from the tables' logs alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas import TABLES

if TYPE_CHECKING:
    from pipelines.lake.location import Location


@dataclass(frozen=True)
class Size:
    """Rows, and the bytes of the files that hold them."""

    rows: int = 0
    size: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.rows + other.rows, self.size + other.size)


def sizes_by_run(location: Location) -> dict[str, dict[str, Size]]:
    """Run -> table -> what it has there at the newest version, tables in their order."""
    import pyarrow as pa

    found: dict[str, dict[str, Size]] = defaultdict(dict)
    for table in TABLES:
        if not location.has_table(table.name):
            continue
        files = pa.table(location.open_table(table.name).get_add_actions(flatten=True))
        columns = ("partition.run_id", "num_records", "size_bytes")
        for run, rows, size in zip(*(files[name].to_pylist() for name in columns), strict=True):
            before = found[run].get(table.name, Size())
            found[run][table.name] = before + Size(rows or 0, size)
    return dict(found)
