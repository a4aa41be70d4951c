"""Find and remove files that nothing names: written in vain, of deleted runs, policies of no run.

Kept is every file that some version of its table names, so that sealed versions, and all others that
can be read, stay readable, but for the rows of runs that were deleted since; every file of a run that
a start may be working on; every young file. The
order matters: files are listed first, then it is looked which runs are held, then the logs are read.
So what a start commits in the meantime is found in the log, and what it writes was not listed.

A stored policy is kept while a row of `policies` has it, of whichever run. A policy is stored before its
row is committed, and its folder names no run: so none is removed while any run is held.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem, PyFileSystem

from pipelines.lake.deleted_run import deleted_run
from pipelines.lake.lease import held_runs
from pipelines.lake.location import POLICIES_FOLDER, Location
from schemas import POLICIES, TABLES

_COMMIT = re.compile(r"^_delta_log/(\d{20})\.json$")
_RUN = re.compile(r"(?:^|/)run_id=([^/]+)/")


@dataclass(frozen=True)
class Orphan:
    """A file that nothing names, or nothing since its run was deleted."""

    table: str
    """The table, or the folder of stored policies."""
    path: str
    """Relative to the table's root."""
    run_id: str
    """Empty for a policy's file."""
    size: int
    """Bytes."""


def find_orphans(location: Location, older_than: timedelta) -> list[Orphan]:
    """The files that can be removed, by table, run and path.

    Args:
        location: the lake.
        older_than: files that changed since then are kept.
    """
    before = datetime.now(UTC) - older_than
    tables = [table.name for table in TABLES if location.has_table(table.name)]
    found = {name: list(_data_files(location, name, before)) for name in tables}
    policies = list(_policy_files(location, before))
    held = held_runs(location)
    orphans = [
        orphan
        for name in tables
        if found[name]
        for orphan in _unnamed(found[name], _named_files(location, name))
        if orphan.run_id not in held
    ]
    if policies and not held:
        used = _used_policies(location)
        orphans += [file for file in policies if file.path.partition("/")[0] not in used]
    return orphans


def remove(location: Location, orphans: Sequence[Orphan]) -> None:
    """Delete files that `find_orphans` found."""
    for orphan in orphans:
        location.delete(f"{orphan.table}/{orphan.path}")


def _policy_files(location: Location, before: datetime) -> Iterator[Orphan]:
    """The old enough files of stored policies."""
    if location.is_local and not (location.folder / POLICIES_FOLDER).is_dir():
        return
    for file, path in _files(location, POLICIES_FOLDER):
        if file.mtime is not None and file.mtime <= before:
            yield Orphan(POLICIES_FOLDER, path, "", file.size)


def _used_policies(location: Location) -> set[str]:
    """The policies that a row names."""
    if not location.has_table(POLICIES.name):
        return set()
    rows = location.open_table(POLICIES.name).to_pyarrow_table(columns=["policy_id"])
    return set(rows["policy_id"].to_pylist())


def _unnamed(files: Sequence[Orphan], named: set[str]) -> list[Orphan]:
    return sorted((f for f in files if f.path not in named), key=lambda f: (f.run_id, f.path))


def _data_files(location: Location, table: str, before: datetime) -> Iterator[Orphan]:
    """The table's old enough files, all that its log may name."""
    for file, path in _files(location, table):
        run = _run_of(path)
        if (
            path.startswith("_delta_log/")
            or run is None
            or file.mtime is None
            or file.mtime > before
        ):
            continue
        yield Orphan(table, path, run, file.size)


def _files(location: Location, table: str) -> Iterator[tuple[FileInfo, str]]:
    """The table's files with their paths relative to its root."""
    system, root = _file_system(location, table)
    for file in system.get_file_info(FileSelector(root, recursive=True)):
        if file.type is FileType.File:
            yield file, file.path.removeprefix(root).lstrip("/")


def _file_system(location: Location, table: str) -> tuple[FileSystem, str]:
    if location.is_local:
        return LocalFileSystem(), str(location.folder / table)
    from deltalake.fs import DeltaStorageHandler  # only an object store needs it

    store = DeltaStorageHandler(location.table(table), location.storage_options)
    return PyFileSystem(store), ""


def _named_files(location: Location, table: str) -> set[str]:
    """The files that any version of the table names, as far as its log goes back.

    But for those of deleted runs, which no version names from the deletion on.
    """
    commits = sorted(
        (int(match[1]), path)
        for _, path in _files(location, table)
        if (match := _COMMIT.match(path)) is not None
    )
    named: set[str] = set()
    # Where the log was cut, the oldest version that is left names what the cut commits added.
    if commits and commits[0][0] > 0:
        start = location.open_table(table, commits[0][0])
        named |= {location.path_in(table, uri) for uri in start.file_uris()}
    for _, path in commits:
        lines = (location.read(f"{table}/{path}") or b"").splitlines()
        actions = [json.loads(line) for line in lines]
        named |= {
            unquote(action[kind]["path"])
            for action in actions
            for kind in ("add", "remove")
            if kind in action
        }
        for deleted in filter(None, map(deleted_run, actions)):
            named = {path for path in named if _run_of(path) != deleted}
    newest = location.open_table(table)
    return named | {location.path_in(table, uri) for uri in newest.file_uris()}


def _run_of(path: str) -> str | None:
    run = _RUN.search(path)
    return None if run is None else unquote(run[1])
