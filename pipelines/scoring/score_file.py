"""Score a file of solutions with any reward, without a run or a lake.

The input is read twice. First every row is checked, so that a file with bad rows is refused as a
whole with each bad line named; then it is scored in pieces, so that memory does not grow with it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NoReturn

from pipelines.errors import InputError, first_line
from pipelines.rewards.resolve import checker_failures, resolve_reward
from pipelines.rewards.workers.pool import ScoringPool
from pipelines.rewards.workers.worker_process import Scored
from pipelines.runtime.hardware import usable_cores
from pipelines.runtime.progress import Progress

if TYPE_CHECKING:
    from pipelines.config import RewardConfig

Failures = Counter[str]
"""What failed in the checker -> number of rows."""
ROWS_AT_ONCE = 2_000
"""Rows in memory; at the end of each piece, the processors wait for its slowest row."""
_MAX_LINES_SHOWN = 20
"""Maximum number of bad lines named in a message."""
_MAX_VALUE_SHOWN = 40


@dataclass(frozen=True)
class SolutionRow:
    """A row of the input."""

    id: str | int
    reference: str
    solution: str
    question: str
    """Empty if the row has none."""


@dataclass(frozen=True)
class FileScores:
    """What a file was given."""

    verdicts: Counter[str]
    """Verdict -> number of rows."""
    failures: Failures
    """Of the rows on which the reward failed."""


class _BadRow(ValueError):
    """A row breaks a rule; the message says which."""


def score_file(
    config: RewardConfig, source: IO[bytes], target: IO[str], progress: Progress, name: str
) -> FileScores:
    """Score every row of a JSONL file; returns the number of rows per verdict and failure.

    Args:
        config: the reward.
        source: rows of `id`, `reference`, `solution` and optionally `question`; must be seekable.
            Blank lines are skipped.
        target: gets a line of `id`, `reward`, `verdict`, `extracted`, `detail` (why the reward
            failed) and `milliseconds` per row.
        progress: the number of rows scored is reported to it.
        name: the source's name in messages.

    Raises:
        ConfigError: the reward cannot be used.
        InputError: rows break a rule; nothing is written.
    """
    resolve_reward(config)
    total = count_rows(source, name)
    verdicts, failures, failed = Counter[str](), Counter[str](), checker_failures(config)
    with (
        ScoringPool(config, usable_cores()) as pool,
        progress.task("verify", total, "rows") as task,
    ):
        for rows in _pieces(source):
            pairs = [(row.solution, row.reference) for row in rows]
            scored = pool.score(pairs, [row.question for row in rows])
            target.writelines(_line(row, given) for row, given in zip(rows, scored, strict=True))
            verdicts.update(given.verdict.verdict for given in scored)
            failures.update(
                given.verdict.detail or given.verdict.verdict
                for given in scored
                if given.verdict.verdict in failed
            )
            task.advance(len(rows), note=f"{verdicts['correct'] / verdicts.total():.1%} correct")
    return FileScores(verdicts, failures)


def count_rows(source: IO[bytes], name: str) -> int:
    """The number of rows of a JSONL file, all of them valid.

    Raises:
        InputError: with the number of each bad line and the rule that it breaks.
    """
    numbers: dict[str | int, int] = {}
    bad: list[str] = []
    for number, line in _lines(source):
        try:
            row = read_row(line)
        except _BadRow as error:
            bad.append(f"{name}: line {number}: {error}")
            continue
        first = numbers.setdefault(row.id, number)
        if first != number:
            rule = f"id must be the row's own, but line {first} has {_shown(row.id)} too"
            bad.append(f"{name}: line {number}: {rule}")
    if bad:
        shown, num_hidden = bad[:_MAX_LINES_SHOWN], len(bad) - _MAX_LINES_SHOWN
        if num_hidden > 0:
            shown.append(f"... and {num_hidden} more bad lines")
        raise InputError("\n".join([*shown, "nothing was scored; correct the file"]))
    return len(numbers)


def read_row(line: bytes) -> SolutionRow:
    """The row that a line holds.

    Raises:
        ValueError: it is not JSON, lacks a field, or has a field of the wrong type.
    """
    try:
        row = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _BadRow(f"must be a JSON object, cannot be read ({first_line(error)})") from None
    if not isinstance(row, dict):
        raise _BadRow(f"must be a JSON object, got {_shown(row)}")
    for field in ("id", "reference", "solution"):
        if field not in row:
            raise _BadRow(f"{field} is required; add it")
    solution, question = row["solution"], row.get("question", "")
    for field, value in (("solution", solution), ("question", question)):
        if not isinstance(value, str):
            raise _BadRow(f"{field} must be a text, got {_shown(value)}")
    return SolutionRow(_id(row["id"]), _reference(row["reference"]), solution, question)


def _id(value: object) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise _BadRow(f"id must be a text or a whole number, got {_shown(value)}")
    return value


def _reference(value: object) -> str:
    """A text as it is, an object as JSON: equal objects give equal texts."""
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    if not isinstance(value, str):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        hint = f'; write it in quotes, "{value}"' if is_number else ""
        raise _BadRow(f"reference must be a text or an object, got {_shown(value)}{hint}")
    return value


def _pieces(source: IO[bytes]) -> Iterator[list[SolutionRow]]:
    rows: list[SolutionRow] = []
    for _, line in _lines(source):
        rows.append(read_row(line))
        if len(rows) == ROWS_AT_ONCE:
            yield rows
            rows = []
    if rows:
        yield rows


def _lines(source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    source.seek(0)
    for number, line in enumerate(source, 1):
        if line.strip():
            yield number, line


def _line(row: SolutionRow, given: Scored) -> str:
    fields = {
        "id": row.id,
        "reward": given.verdict.reward,
        "verdict": given.verdict.verdict,
        "extracted": given.verdict.extracted,
        "detail": given.verdict.detail,
        "milliseconds": round(given.milliseconds, 3),
    }
    # In ASCII: a text may hold half of a surrogate pair, which no encoding of a file can represent.
    return json.dumps(fields) + "\n"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MAX_VALUE_SHOWN else f"{text[:_MAX_VALUE_SHOWN]}..."
