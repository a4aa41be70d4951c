"""Comparing what a program printed or returned with what is expected.

The rules are the benchmarks' own, but stricter where those would accept a wrong answer:
`docs/unit_tests.md` lists the differences.
"""

from __future__ import annotations

import math
import re

_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_MAX_NUMBER = 400


def same_lines(printed: str, expected: str) -> bool:
    """APPS: the same non-blank lines, each with the same tokens; decimals to 1e-5."""
    rows, wanted = _rows(printed), _rows(expected)
    return len(rows) == len(wanted) and all(
        len(row) == len(other) and all(map(_same_for_apps, row, other))
        for row, other in zip(rows, wanted, strict=True)
    )


def same_tokens(printed: str, expected: str) -> bool:
    """CodeContests: the same tokens, ignoring line breaks and case; decimals to 1e-5."""
    tokens, wanted = printed.lower().split(), expected.lower().split()
    return len(tokens) == len(wanted) and all(map(_same_for_code_contests, tokens, wanted))


def same_value(returned: object, expected: object) -> bool:
    """APPS with a function: equal as JSON (tuples are lists); an output may be alone in a list."""
    value, wanted = _as_json(returned), _as_json(expected)
    if _equal(value, wanted):
        return True
    return isinstance(wanted, list) and len(wanted) == 1 and _equal(value, wanted[0])


def _rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


def _same_for_apps(printed: str, expected: str) -> bool:
    if printed == expected:
        return True
    pair = _decimals(printed, expected)
    return pair is not None and abs(pair[0] - pair[1]) <= 1e-8 + 1e-5 * abs(pair[1])


def _same_for_code_contests(printed: str, expected: str) -> bool:
    if printed == expected:
        return True
    pair = _decimals(printed, expected)
    return pair is not None and abs(pair[0] - pair[1]) < 1e-5


def _decimals(printed: str, expected: str) -> tuple[float, float] | None:
    """Both as numbers; None if one is not a number, or both are integers (compared as text)."""
    if max(len(printed), len(expected)) > _MAX_NUMBER:
        return None
    if _INTEGER.fullmatch(printed) and _INTEGER.fullmatch(expected):
        return None
    if not _NUMBER.fullmatch(printed) or not _NUMBER.fullmatch(expected):
        return None
    pair = float(printed), float(expected)
    return pair if all(map(math.isfinite, pair)) else None


def _as_json(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    return value


def _equal(value: object, wanted: object) -> bool:
    try:
        return bool(value == wanted)
    except RecursionError:
        return False
