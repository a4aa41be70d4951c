"""A lake's committed rows, and how they are compared before and after a fault."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.lake.vacuum import find_orphans
from schemas import (
    EVALUATIONS,
    POLICIES,
    PROBLEMS,
    PROMPTS,
    REWARDS,
    SAMPLES,
    SELECTIONS,
    STAGES,
    TRAINING_SET,
)
from schemas.table import Table

COMPARED: tuple[Table, ...] = (
    PROBLEMS,
    PROMPTS,
    SAMPLES,
    REWARDS,
    EVALUATIONS,
    SELECTIONS,
    TRAINING_SET,
    POLICIES,
    STAGES,
)
_TIMES_AND_PLACES = frozenset(
    {
        "checkpoint_uri",
        "code_version",
        "committed_at",
        "config_hash",
        "created_at",
        "inputs",
        "measures",
        "milliseconds",
        "mlflow_run_id",
        "seconds",
        "training_set_version",
        "version",
        "validation_seconds",
    }
)
"""Columns, and fields of JSON, that differ between two runs that draw and train the same."""

Row = Mapping[str, Any]
Rows = dict[str, dict[str, str]]
"""Table -> key of a row -> hash of the row."""


@dataclass(frozen=True)
class Snapshot:
    """All committed rows at some time."""

    rows: Rows
    """As they are."""
    results: Rows
    """Without times and places: equal to those of an undisturbed run."""
    doubled: int
    """Rows whose key another row has."""


@dataclass(frozen=True)
class Damage:
    """How much of what was committed is not there any more, or is not as it was."""

    lost: int = 0
    doubled: int = 0
    changed: int = 0
    differing: int = 0
    """Rows that an undisturbed run has not, has otherwise, or has besides."""

    @property
    def total(self) -> int:
        """Number of rows that are not as they should be."""
        return self.lost + self.doubled + self.changed + self.differing


def snapshot(location: Location) -> Snapshot:
    """The lake's committed rows; none of tables that are not there yet."""
    reader = LakeReader(location)
    rows: Rows = {}
    results: Rows = {}
    doubled = 0
    for table in COMPARED:
        if not location.has_table(table.name):
            continue
        found = reader.arrow(table.name).to_pylist()
        keys = [key_of(table, row) for row in found]
        doubled += sum(count - 1 for count in Counter(keys).values())
        rows[table.name] = dict(zip(keys, map(digest, found), strict=True))
        plain = map(without_times_and_places, found)
        results[table.name] = dict(zip(keys, map(digest, plain), strict=True))
    return Snapshot(rows, results, doubled)


def key_of(table: Table, row: Row) -> str:
    """A row's key, as text."""
    return "/".join(str(row[name]) for name in table.key)


def digest(row: Row) -> str:
    """A hash of a row's values."""
    return hashlib.sha256(repr(sorted(row.items())).encode()).hexdigest()[:16]


def without_times_and_places(row: Row) -> dict[str, Any]:
    """A row without what differs between two equal runs; log-probabilities to a thousandth."""
    kept = {name: value for name, value in row.items() if name not in _TIMES_AND_PLACES}
    if kept.get("log_probability") is not None:
        kept["log_probability"] = round(kept["log_probability"], 3)
    if "history" in kept:
        epochs = json.loads(kept["history"])
        kept["history"] = [without_times_and_places(epoch) for epoch in epochs]
    return kept


def compare(earlier: Sequence[Snapshot], now: Snapshot, undisturbed: Rows) -> Damage:
    """What became of the rows that earlier snapshots have.

    Args:
        earlier: snapshots at and after each fault.
        now: the snapshot of the finished run.
        undisturbed: `Snapshot.results` of an undisturbed run.
    """
    before: Rows = {}
    for one in earlier:
        for table, rows in one.rows.items():
            before.setdefault(table, {}).update(rows)
    lost = changed = differing = 0
    for table, rows in before.items():
        there = now.rows.get(table, {})
        lost += len(rows.keys() - there.keys())
        changed += sum(there[key] != rows[key] for key in rows.keys() & there.keys())
    for table in undisturbed.keys() | now.results.keys():
        wanted, there = undisturbed.get(table, {}), now.results.get(table, {})
        differing += len(wanted.items() ^ there.items())
    doubled = now.doubled + sum(one.doubled for one in earlier)
    return Damage(lost, doubled, changed, differing)


def drawn_in_vain(location: Location) -> set[str]:
    """Files of samples that were written and not committed."""
    if not location.has_table(SAMPLES.name):
        return set()
    orphans = find_orphans(location, timedelta(0))
    return {orphan.path for orphan in orphans if orphan.table == SAMPLES.name}


def num_prompts(location: Location, paths: set[str]) -> int:
    """Number of prompts whose samples are in files; a torn file has none."""
    found = set()
    for path in paths:
        data = location.read(f"{SAMPLES.name}/{path}") or b""
        try:
            column = pq.read_table(pa.BufferReader(data), columns=["prompt_id"])["prompt_id"]
        except pa.ArrowInvalid:
            continue
        found.update(column.to_pylist())
    return len(found)
