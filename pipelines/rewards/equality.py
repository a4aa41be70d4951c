r"""Whether an answer equals a reference: what text and exact numbers alone can decide.

`decide` does a bounded amount of work, so it needs no deadline and runs where the samples are. What
it leaves open goes to `symbolic.py`. It is strict where leniency would be trained on: an answer that
is not worked out (`15 + 3` for 18) is wrong, and so are rounded decimals and other brackets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from pipelines.rewards.exact_numbers import Quantity, read_quantity

MAX_ANSWER = 2_000
"""A longer answer is held against the reference as text alone."""

_INTEGER = re.compile("-?[0-9]{1,18}")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u00ad]")
_SPACES = re.compile(r"(?:(?<!\\)\\[,;:! ]|\\q?quad\b|~|\s)+")
_SIZES = re.compile(r"\\(?:left|right|displaystyle|limits|big|Big|bigg|Bigg)(?![A-Za-z])\.?")
_FRACTION_NAME = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_FRACTION_SHORT = re.compile(r"\\frac\s*([0-9A-Za-z])\s*([0-9A-Za-z])(?![0-9])")
_FRACTION_HALF = re.compile(
    r"\\frac\s*([0-9])\s*(\{[^{}]*\})|\\frac\s*(\{[^{}]*\})\s*([0-9A-Za-z])(?![0-9])"
)
_ROOT_SHORT = re.compile(r"\\sqrt\s*([0-9A-Za-z])")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|,?\\[!,]\s*,?|,\s?\\!)(?=[0-9]{3}(?![0-9]))")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|mathrm|textrm|textit|mathbf)\{([^{}]*)\}")
_DELIMITERS = ((r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"), ("$", "$"), ("**", "**"), ("`", "`"))
_SYMBOL = re.compile(r"\\?[A-Za-z]+(?:_\{?[A-Za-z0-9]+\}?)?(?:\([A-Za-z]\))?'?")
_COMPARISON = re.compile(r"[<>≤≥≠,;]|\\(?:le|ge|ne|lt|gt|leq|geq|neq|in|text)(?![A-Za-z])|[<>!]=")
_WORDS = re.compile(r"\(?[A-Za-z]\)?|[A-Za-z][A-Za-z' .,-]*[A-Za-z]\.?")
_MATH_WORD = re.compile(r"(?:sqrt|pi|tau|phi|sin|cos|tan|log|ln|exp|inf|infinity|alpha|theta)")
_PROSE = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{3,}(?![A-Za-z])")
# Digits and operators are disjoint, so that a mismatch is found without backtracking.
_UNWORKED = re.compile(
    r"[-+(]*[0-9.,]+(?:(?:[-+*/×÷·()]|\\(?:times|cdot|div)(?![A-Za-z]))+[0-9.,]+)+\)*"
)
_BRACKETS = {"(": ")", "[": "]", r"\{": r"\}"}


@dataclass(frozen=True)
class _Reading:
    """A text as an answer: cleaned, without any spaces, and what it turned out to be."""

    clean: str
    squeezed: str
    quantity: Quantity | None
    words: str | None


def decide(answer: str, reference: str) -> bool | None:
    """Whether the answer equals the reference; None if text and numbers cannot tell."""
    answer, reference = answer.strip(), reference.strip()
    if answer == reference:
        return True
    if _INTEGER.fullmatch(answer) and _INTEGER.fullmatch(reference):
        return int(answer) == int(reference)
    if max(len(answer), len(reference)) > MAX_ANSWER:
        return False
    given, wanted = _read(answer), _read(reference)
    if "=" in given.clean and "=" not in wanted.clean:
        given = _read(_right_side(given.clean))
    elif "=" in wanted.clean and "=" not in given.clean:
        wanted = _read(_right_side(wanted.clean))
    return _compare(given, wanted)


def clean(text: str) -> str:
    r"""One spelling of what is written in several: spaces, `\dfrac`, `\left`, `$...$`, minus signs."""
    text = _INVISIBLE.sub("", text).replace("\u2212", "-").replace(r"\$", "$")
    text = _undelimited(text.strip())
    text = _THOUSANDS.sub(",", text)
    text = _SPACES.sub(" ", _SIZES.sub("", text)).strip()
    text = _FRACTION_NAME.sub(r"\\frac", text)
    text = _FRACTION_SHORT.sub(r"\\frac{\1}{\2}", text)
    text = _FRACTION_HALF.sub(_braced, text)
    text = _ROOT_SHORT.sub(r"\\sqrt{\1}", text)
    return text[:-1].rstrip() if text.endswith((".", ",", ";")) and len(text) > 1 else text


@lru_cache(maxsize=65_536)
def _read(text: str) -> _Reading:
    cleaned = clean(text)
    spoken = _TEXT.sub(r"\1", cleaned).strip()
    return _Reading(
        clean=cleaned,
        squeezed=re.sub(r"\s", "", spoken),
        quantity=read_quantity(cleaned),
        words=_words(spoken),
    )


def _compare(given: _Reading, wanted: _Reading) -> bool | None:
    if given.squeezed and given.squeezed == wanted.squeezed:
        return True
    if given.quantity and wanted.quantity:
        return given.quantity.equals(wanted.quantity)
    if given.words is not None and wanted.words is not None:
        return given.words == wanted.words
    if wanted.quantity:
        return False if _is_no_value(given) else None
    if wanted.words is not None and given.quantity:
        return False
    return _compare_sequences(given.clean, wanted.clean)


def _is_no_value(given: _Reading) -> bool:
    """Whether the answer, held against a plain number, is prose or arithmetic not worked out."""
    if given.words is not None or _UNWORKED.fullmatch(given.squeezed):
        return True
    found = _PROSE.findall(_TEXT.sub(r" \1 ", given.clean))
    return any(not _MATH_WORD.fullmatch(word.lower()) for word in found)


def _words(spoken: str) -> str | None:
    """The text in lower case if it is words or a choice's letter; None if it may be mathematics."""
    if not _WORDS.fullmatch(spoken):
        return None
    if len(spoken.strip("()")) == 1:
        return spoken.strip("()")
    return " ".join(spoken.rstrip(".").lower().split())


def _right_side(text: str) -> str:
    """The value of `x = 5` or `2 + 3 = 5`; the text itself if it says more than a value."""
    *left, right = text.split("=")
    if _COMPARISON.search(text) or not right.strip():
        return text
    plain = all(_SYMBOL.fullmatch(side.strip()) or not re.search("[A-Za-z]", side) for side in left)
    return right if plain else text


def _compare_sequences(given: str, wanted: str) -> bool | None:
    """Tuples and intervals in order, sets and bare lists in any order; numbers only."""
    ours, theirs = _sequence(given), _sequence(wanted)
    if ours is None or theirs is None:
        return None
    (bracket, items), (other_bracket, other_items) = ours, theirs
    ordered = {"(", "["} & {bracket[:1], other_bracket[:1]}
    if bracket != other_bracket:
        # A bare list for a tuple, or a set for a list, is the symbolic check's to judge.
        return None if not (bracket and other_bracket) else False
    if len(items) != len(other_items):
        return False
    if ordered:
        return all(a.equals(b) for a, b in zip(items, other_items, strict=True))
    return _same_members(items, other_items)


def _same_members(items: list[Quantity], others: list[Quantity]) -> bool:
    left = list(others)
    for item in items:
        match = next((other for other in left if item.equals(other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _sequence(text: str) -> tuple[str, list[Quantity]] | None:
    """Its pair of brackets ("" for none) and its members, if all are numbers and two or more."""
    brackets, inner = "", text
    for opening in _BRACKETS:
        if text.startswith(opening):
            closing = r"\}" if opening == r"\{" else text[-1:]
            if not text.endswith(closing) or closing not in (")", "]", r"\}"):
                return None
            brackets, inner = opening + closing, text[len(opening) : -len(closing)]
            break
    parts = inner.split(",")
    if not 2 <= len(parts) <= 64:
        return None
    items = [read_quantity(part.strip()) for part in parts]
    known = [item for item in items if item is not None]
    return (brackets, known) if len(known) == len(items) else None


def _undelimited(text: str) -> str:
    for opening, closing in _DELIMITERS:
        inner = text[len(opening) : len(text) - len(closing)]
        if (
            len(text) > len(opening) + len(closing)
            and text.startswith(opening)
            and text.endswith(closing)
            and opening not in inner
        ):
            return inner.strip()
    return text


def _braced(match: re.Match[str]) -> str:
    top, bottom_group, top_group, bottom = match.groups()
    if top is not None:
        return rf"\frac{{{top}}}{bottom_group}"
    return rf"\frac{top_group}{{{bottom}}}"
