"""Memory of a process and its descendants."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.watch import Watch


class PeakMemory(Watch):
    """Watches this process and its descendants inside a `with` block; `gib` is their peak sum."""

    def __init__(self, every: float = 1.0) -> None:
        super().__init__(self._measure, every)
        self.gib = 0.0

    def _measure(self) -> None:
        now = sum(private_bytes(pid) for pid in descendants(os.getpid()))
        self.gib = max(self.gib, now / 2**30)


def descendants(root: int) -> set[int]:
    """The ids of a process and of all processes that it started, directly or indirectly."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = {root}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def private_bytes(pid: int) -> int:
    """Proportional set size of a process: pages it shares count by its share."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    pss = next((line for line in text.splitlines() if line.startswith("Pss:")), "Pss: 0 kB")
    return int(pss.split()[1]) * 1024
