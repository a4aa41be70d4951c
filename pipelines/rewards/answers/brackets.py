r"""Scanners for nested brackets: contents of boxes, members between commas, an enclosing pair."""

from __future__ import annotations

import re
from itertools import accumulate, pairwise

_BOX_TOKEN = re.compile(r"\\[\\{}]|\\(?:boxed|fbox)\s*\{|[{}]")
_BARE_BOX = re.compile(r"\\boxed\s+([^\s{}$\\.]+)")
_OPEN, _CLOSE = set("([{"), set(")]}")


def boxes(solution: str) -> list[str]:
    r"""The contents of each `\boxed{...}` that is closed, in order; of nested ones the innermost."""
    opened: list[int | None] = []
    found: list[tuple[int, int]] = []
    for token in _BOX_TOKEN.finditer(solution):
        text = token.group()
        if text == "}":
            start = opened.pop() if opened else None
            # A box around the last one found only wraps it.
            if start is not None and not (found and start < found[-1][0]):
                found.append((start, token.start()))
        elif text[-1] == "{" and text != r"\{":
            opened.append(token.end() if len(text) > 1 else None)
    if found:
        return [solution[start:end] for start, end in found]
    return _BARE_BOX.findall(solution)


def split_members(text: str) -> list[str] | None:
    """The parts between the commas outside all brackets; None if a bracket closes unopened."""
    depths = _depths(text)
    if min(depths, default=0) < 0:
        return None
    commas = [place for place, sign in enumerate(text) if sign == "," and depths[place] == 0]
    return [text[a + 1 : b].strip() for a, b in pairwise([-1, *commas, len(text)])]


def is_enclosed(text: str) -> bool:
    """Whether the first bracket is closed by the last one: `(1,2)`, and not `(x-1)(x+1)`."""
    if text[:1] not in ("(", "[") or text[-1:] not in (")", "]"):
        return False
    depths = _depths(text)
    return depths[-1] == 0 and 0 not in depths[:-1]


def _depths(text: str) -> list[int]:
    """The number of open brackets after each character; `[1,2)` closes what it opens."""
    return list(accumulate((sign in _OPEN) - (sign in _CLOSE) for sign in text))
