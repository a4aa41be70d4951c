"""Print the files that nothing names, and remove them if asked to."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from jobs.show.console import console, table
from pipelines.lake.vacuum import Orphan, find_orphans
from pipelines.lake.vacuum import remove as remove_files

if TYPE_CHECKING:
    from pipelines.lake.reader import LakeReader

_MEGABYTE = 1e6


def vacuum(reader: LakeReader, older_than_hours: float, *, remove: bool) -> None:
    """Show a lake's orphan files by table and run; remove them with `remove`.

    Raises:
        LakeError: there is no lake.
    """
    reader.tables()
    out = console()
    orphans = find_orphans(reader.location, timedelta(hours=older_than_hours))
    by_place: dict[tuple[str, str], list[Orphan]] = defaultdict(list)
    for orphan in orphans:
        by_place[orphan.table, orphan.run_id].append(orphan)
    rows = [
        {"table": name, "run": run, "files": len(files), "MB": _megabytes(files)}
        for (name, run), files in sorted(by_place.items())
    ]
    table(out, rows)
    if not orphans:
        out.print("no file can be removed")
        return
    if remove:
        remove_files(reader.location, orphans)
    done = "removed" if remove else "can be removed with --remove; nothing was"
    out.print(f"{len(orphans):,} files, {_megabytes(orphans):,} MB: {done}", style="bold")


def _megabytes(files: list[Orphan]) -> float:
    return round(sum(file.size for file in files) / _MEGABYTE, 3)
