"""A problem as its source has it, before it gets an id and a split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OTHER_SOLUTIONS = "other_solutions"
"""The field in which a published set's module gives a problem's further human solutions."""
Fields = dict[str, Any]
"""A row's values by field name, as its source has them: text, numbers, lists, mappings."""


@dataclass(frozen=True)
class RawProblem:
    """One problem of a source."""

    question: str
    reference: str
    solution: str | None
    split: str | None
    """None if the source has no splits: the problem is then split by hash."""
    source_row: int
    """Number of its row in the source, from 1 (in a JSONL file: the line)."""
    metadata: Fields = field(default_factory=dict)
    other_solutions: tuple[str, ...] = ()
    """Further human solutions, tried if the first one fails the problem's tests; not stored."""


@dataclass(frozen=True)
class Unreadable:
    """A row that cannot be read as a problem, and why."""

    reason: str


NumberedRow = tuple[int, Fields | Unreadable]
"""The number of a row in its source, from 1, and its fields."""


def missing_text(row: Fields, *names: str) -> Unreadable | None:
    """The fault of a published set's row that lacks text in one of these fields."""
    for name in names:
        if not isinstance(row.get(name), str) or not row[name].strip():
            has = ", ".join(repr(key) for key in row)
            return Unreadable(f"must have text in {name!r} (it has {has}); is this the right file?")
    return None
