"""Verify: any reward over a file of solutions, without a run or a lake.

The input is read twice. First every row is checked, so that a file with a bad row is refused whole,
with each of its bad lines named; then it is scored a piece at a time, so that its length does not
matter.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from pipelines.errors import InputError
from pipelines.rewards.resolve import resolve_reward
from pipelines.rewards.workers.pool import ScoringPool, num_processors
from pipelines.rewards.workers.worker_process import Scored
from pipelines.runtime.progress import Progress

if TYPE_CHECKING:
    from pipelines.config import RewardConfig

ROWS_AT_ONCE = 2_000
"""Rows in memory; the processors wait for the slowest of them."""
_SHOWN = 20
"""Bad lines named in a message."""
_SHOWN_VALUE = 40


@dataclass(frozen=True)
class Answer:
    """A row of the input."""

    id: str | int
    reference: str
    solution: str
    question: str
    """Empty if the row has none."""


class _BadRow(ValueError):
    """What is wrong with a row."""


def verify(
    config: RewardConfig, source: IO[bytes], target: IO[str], progress: Progress, name: str
) -> Counter[str]:
    """Score every row of a JSONL file; the verdicts counted.

    Args:
        config: the reward.
        source: rows of `id`, `reference` and `solution`, perhaps with the `question`; must be
            seekable. Empty lines are skipped.
        target: takes a line of `id`, `reward`, `verdict`, `extracted` and `milliseconds` for each.
        progress: told the rows scored.
        name: the source's, for messages.

    Raises:
        ConfigError: the reward cannot be used.
        InputError: rows are not as they must be; nothing is written then.
    """
    resolve_reward(config)
    total = check_rows(source, name)
    verdicts = Counter[str]()
    with (
        ScoringPool(config, num_processors()) as pool,
        progress.task("verify", total, "rows") as task,
    ):
        for rows in _pieces(source):
            pairs = [(row.solution, row.reference) for row in rows]
            scored = pool.score(pairs, [row.question for row in rows])
            target.writelines(_line(row, given) for row, given in zip(rows, scored, strict=True))
            verdicts.update(given.verdict.verdict for given in scored)
            task.advance(len(rows), note=f"{verdicts['correct'] / verdicts.total():.1%} correct")
    return verdicts


def check_rows(source: IO[bytes], name: str) -> int:
    """The number of rows of a JSONL file, each as it must be.

    Raises:
        InputError: with the number of each bad line and what is wrong there.
    """
    first_line: dict[str | int, int] = {}
    bad: list[str] = []
    for number, line in _lines(source):
        try:
            row = read_row(line)
        except _BadRow as error:
            bad.append(f"{name}: line {number}: {error}")
            continue
        first = first_line.setdefault(row.id, number)
        if first != number:
            rule = f"id must be the row's own, but line {first} has {_shown(row.id)} too"
            bad.append(f"{name}: line {number}: {rule}")
    if bad:
        more = f"\n... and {len(bad) - _SHOWN} more bad lines" if len(bad) > _SHOWN else ""
        raise InputError("\n".join(bad[:_SHOWN]) + f"{more}\nnothing was scored; correct the file")
    return len(first_line)


def read_row(line: bytes) -> Answer:
    """The row that a line holds.

    Raises:
        ValueError: it is not JSON, lacks a field, or has one of the wrong type.
    """
    try:
        row = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _BadRow(f"must be a JSON object, cannot be read ({_first_line(error)})") from None
    if not isinstance(row, dict):
        raise _BadRow(f"must be a JSON object, got {_shown(row)}")
    for field in ("id", "reference", "solution"):
        if field not in row:
            raise _BadRow(f"{field} is required; add it")
    solution, question = (_text(field, row.get(field, "")) for field in ("solution", "question"))
    return Answer(_id(row["id"]), _reference(row["reference"]), solution, question)


def _id(value: object) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise _BadRow(f"id must be a text or a whole number, got {_shown(value)}")
    return value


def _reference(value: object) -> str:
    """The text, or the text of the object: equal objects have equal texts."""
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    if not isinstance(value, str):
        hint = f'; write it in quotes, "{value}"' if _is_number(value) else ""
        raise _BadRow(f"reference must be a text or an object, got {_shown(value)}{hint}")
    return value


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise _BadRow(f"{field} must be a text, got {_shown(value)}")
    return value


def _pieces(source: IO[bytes]) -> Iterator[list[Answer]]:
    rows: list[Answer] = []
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


def _line(row: Answer, given: Scored) -> str:
    # In ASCII: a text may hold half of a surrogate pair, which no encoding of a file takes.
    return (
        json.dumps(
            {
                "id": row.id,
                "reward": given.verdict.reward,
                "verdict": given.verdict.verdict,
                "extracted": given.verdict.extracted,
                "milliseconds": round(given.milliseconds, 3),
            }
        )
        + "\n"
    )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_VALUE else f"{text[:_SHOWN_VALUE]}..."


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
