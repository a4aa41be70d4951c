"""A problem as its source gives it, before it has an id and a place in a split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RawProblem:
    """One problem of a source.

    `split` is null where the source has none: the problem is then placed by hash. `source_row`
    counts from 1 (in a JSONL file: the line).
    """

    question: str
    reference: str
    solution: str | None
    split: str | None
    source_row: int
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unreadable:
    """A row that its source cannot give."""

    reason: str


Row = tuple[int, dict[str, Any] | Unreadable]
"""A row's number in its source, and its fields."""


def lacking(row: dict[str, Any], *names: str) -> Unreadable | None:
    """What is wrong with a row of a published set that has no text in one of these fields."""
    for name in names:
        if not isinstance(row.get(name), str) or not row[name].strip():
            has = ", ".join(repr(key) for key in row)
            return Unreadable(f"must have text in {name!r} (it has {has}); is this the right file?")
    return None
