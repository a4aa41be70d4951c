"""When a fault is done: moments are drawn on the timeline of an undisturbed run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_SEALED = re.compile(r"iteration (\d+)  (\w+) +[\d,]+ rows +([\d.]+) s")

Interval = tuple[float, float]
"""Seconds since the run's start."""


@dataclass(frozen=True)
class Sealed:
    """A stage that a start has sealed."""

    label: str
    """`stage@iteration`."""
    at: float
    """Seconds since the start."""
    seconds: float
    """That the stage took."""


@dataclass(frozen=True)
class Timeline:
    """What happened when in an undisturbed run."""

    seconds: float
    sealed: tuple[Sealed, ...]
    alive: Mapping[str, Sequence[Interval]] = field(default_factory=dict)
    """When there were processes of a kind."""

    @property
    def startup(self) -> float:
        """Seconds until the first stage begins."""
        first = self.sealed[0]
        return first.at - first.seconds


@dataclass(frozen=True)
class Moment:
    """A moment of a run, which also exists in a start that goes on in its middle."""

    after: str
    """The stage that was sealed last; empty at the run's beginning."""
    offset: float
    """Seconds since then; or, if it is a moment in the life of a process, since that has begun."""
    in_life: bool = False

    def __str__(self) -> str:
        since = f"after {self.after or 'the start'}"
        return (
            f"{self.offset:.1f} s of its life, {since}"
            if self.in_life
            else f"{self.offset:.1f} s {since}"
        )


def sealed_in(line: str, at: float) -> Sealed | None:
    """The stage that a printed line reports as sealed; None if it reports something else."""
    found = _SEALED.search(line)
    if found is None:
        return None
    return Sealed(f"{found[2]}@{found[1]}", at, float(found[3]))


def drawn_from(intervals: Sequence[Interval], share: float) -> float:
    """The moment in the intervals, put end to end, that a share of their length precedes.

    Args:
        intervals: they do not overlap.
        share: drawn uniformly from 0 to 1.
    """
    left = share * sum(end - begin for begin, end in intervals)
    for begin, end in intervals:
        if left <= end - begin:
            return begin + left
        left -= end - begin
    return intervals[-1][1]


def moment_at(timeline: Timeline, seconds: float) -> Moment:
    """The moment of an undisturbed run, named by the stage that was sealed last."""
    before = [one for one in timeline.sealed if one.at <= seconds]
    if not before:
        return Moment("", seconds)
    return Moment(before[-1].label, seconds - before[-1].at)


def moment_in_life(timeline: Timeline, seconds: float, role: str) -> Moment:
    """The moment, named by the age of the process of a role that was there."""
    began = max(begin for begin, _ in timeline.alive[role] if begin <= seconds)
    return Moment(moment_at(timeline, began).after, seconds - began, in_life=True)


def intervals_of(seen: Sequence[tuple[float, bool]], gap: float = 1.0) -> list[Interval]:
    """The intervals in which something was there, from looks at it.

    Args:
        seen: when it was looked for, and whether it was there.
        gap: it may be missed for fewer seconds than this.
    """
    found: list[Interval] = []
    for at in (at for at, there in seen if there):
        if found and at - found[-1][1] <= gap:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return found
