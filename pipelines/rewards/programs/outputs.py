"""Whether what a program printed or returned is what was expected.

The rules are the benchmarks' own, and stricter where theirs would accept a wrong answer:
`docs/unit_tests.md` lists the differences.
"""

from __future__ import annotations

import math
import re
from typing import Any

_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_MAX_NUMBER = 400


def same_lines(printed: str, expected: str) -> bool:
    """APPS: the same lines that are not blank, each with the same tokens; decimals to 1e-5."""
    mine, theirs = _rows(printed), _rows(expected)
    return len(mine) == len(theirs) and all(
        len(a) == len(b) and all(map(_same_for_apps, a, b))
        for a, b in zip(mine, theirs, strict=True)
    )


def same_tokens(printed: str, expected: str) -> bool:
    """CodeContests: the same tokens whatever the lines and the case; decimals to 1e-5."""
    mine, theirs = printed.lower().split(), expected.lower().split()
    return len(mine) == len(theirs) and all(map(_same_for_code_contests, mine, theirs))


def same_value(returned: Any, expected: Any) -> bool:
    """APPS with a function: JSON's values (tuples are lists), an output perhaps alone in a list."""
    mine, theirs = _as_json(returned), _as_json(expected)
    if _equal(mine, theirs):
        return True
    return isinstance(theirs, list) and len(theirs) == 1 and _equal(mine, theirs[0])


def _rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


def _same_for_apps(mine: str, expected: str) -> bool:
    if mine == expected:
        return True
    pair = _decimals(mine, expected)
    return pair is not None and abs(pair[0] - pair[1]) <= 1e-8 + 1e-5 * abs(pair[1])


def _same_for_code_contests(mine: str, expected: str) -> bool:
    if mine == expected:
        return True
    pair = _decimals(mine, expected)
    return pair is not None and abs(pair[0] - pair[1]) < 1e-5


def _decimals(mine: str, expected: str) -> tuple[float, float] | None:
    """Both as numbers, if they are and one has a decimal point: integers are compared as text."""
    if max(len(mine), len(expected)) > _MAX_NUMBER:
        return None
    if _INTEGER.fullmatch(mine) and _INTEGER.fullmatch(expected):
        return None
    if not _NUMBER.fullmatch(mine) or not _NUMBER.fullmatch(expected):
        return None
    pair = float(mine), float(expected)
    return pair if all(map(math.isfinite, pair)) else None


def _as_json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    return value


def _equal(mine: Any, expected: Any) -> bool:
    try:
        return bool(mine == expected)
    except RecursionError:
        return False
