"""What became of each fault, kept as JSON lines, and the table of all of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

CHUNK_PROMPTS = 6
"""`engine.chunk_prompts` of the runs: the most prompts that an engine draws again."""

WENT_ON = "went on"
"""The start that was hit went on by itself."""
SAME_COMMAND = "same command"
"""The start ended; the same command went on."""
BY_HAND = "by hand"
"""The same command was refused until what its message names was done."""
HUNG = "hung"
"""The start neither went on nor ended; it was killed, and the same command went on."""
FAILED = "failed"
"""The same command did not go on."""


@dataclass
class Record:
    """One fault."""

    kind: str
    seed: int
    run: int
    """Number of the disturbed run; several faults may hit one run."""
    moment: str
    did: str
    outcome: str
    code: int | None = None
    """The exit code of a start that ended by itself with an error."""
    said: str = ""
    """Its last line."""
    seconds: float | None = None
    """Until the next stage is sealed: after the fault, or after the same command was given."""
    prompts_again: int = 0
    """Prompts whose samples were drawn and not committed."""
    epochs_again: float = 0.0
    """Epochs that were trained and were trained again."""
    gone_seconds: float | None = None
    """Until no process of the start that ended was left."""
    left: list[str] = field(default_factory=list)
    """Processes after the wait, files in /dev/shm, folders among the temporary files."""
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    differing: int = 0
    traceback: bool = False

    @property
    def damage(self) -> int:
        """Number of rows of the run that are lost, doubled or changed, or differ from undisturbed ones."""
        return self.lost + self.doubled + self.changed + self.differing

    @property
    def is_as_promised(self) -> bool:
        """Whether no row is damaged, and no more was done again than is promised."""
        again = self.prompts_again > CHUNK_PROMPTS or self.epochs_again > 1.0
        return self.damage == 0 and not again

    @property
    def survived(self) -> bool:
        """Whether the run came to its right end with nothing but the same command."""
        return self.outcome in (WENT_ON, SAME_COMMAND) and self.is_as_promised


def append(file: Path, records: Iterable[Record]) -> None:
    """Add records to a file."""
    with file.open("a", encoding="utf-8") as lines:
        for record in records:
            lines.write(json.dumps(asdict(record)) + "\n")


def read(file: Path) -> list[Record]:
    """The records in a file; none if there is no file."""
    if not file.exists():
        return []
    return [Record(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


COLUMNS = (
    "kind", "tried", "survived", "went on", "same command", "by hand", "hung", "failed",
    "prompts again", "epochs again", "seconds, median", "max", "processes gone after", "left",
)  # fmt: skip


def summary(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """One row per kind, in COLUMNS, and one over all."""
    kinds = list(dict.fromkeys(record.kind for record in records))
    rows = [_row(kind, [one for one in records if one.kind == kind]) for kind in kinds]
    return [*rows, _row("all", records)] if len(kinds) > 1 else rows


def _row(name: str, records: Sequence[Record]) -> tuple[str, ...]:
    seconds = [one.seconds for one in records if one.seconds is not None]
    gone = [one.gone_seconds for one in records if one.gone_seconds is not None]
    outcomes = [one.outcome for one in records]
    return (
        name,
        str(len(records)),
        str(sum(one.survived for one in records)),
        *(str(outcomes.count(one)) for one in (WENT_ON, SAME_COMMAND, BY_HAND, HUNG, FAILED)),
        str(max(one.prompts_again for one in records)),
        f"{max(one.epochs_again for one in records):.1f}",
        f"{statistics.median(seconds):.0f}" if seconds else "-",
        f"{max(seconds):.0f}" if seconds else "-",
        f"{max(gone):.0f} s" if gone else "-",
        str(sum(bool(one.left) for one in records)),
    )


def show(records: Sequence[Record]) -> str:
    """The table as Markdown, with what was damaged or not survived below it."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    lines += [" | ".join(row) for row in summary(records)]
    table = [f"| {line} |" for line in lines]
    below = [
        f"{one.kind}, seed {one.seed}, run {one.run}, {one.moment}: {one.outcome}; {one.lost} lost, "
        f"{one.doubled} doubled, {one.changed} changed, {one.differing} differing; {one.said}"
        for one in records
        if not one.survived
    ]
    below += [f"{one.kind}, run {one.run}: a traceback" for one in records if one.traceback]
    return "\n".join([*table, "", *below])
