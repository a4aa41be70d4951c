r"""Whether an answer equals a reference, as far as bounded work can decide it.

`decide` needs no deadline, so it runs where the samples are. What it leaves open goes to
`symbolic.py`. It is strict where leniency would be trained on: an answer that is not worked out
(`15 + 3` for 18) is wrong, and so are rounded decimals and different brackets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from pipelines.rewards.answers.exact_numbers import Quantity, read_quantity
from pipelines.rewards.answers.structures import VALUE, Form, compare_forms, read_form
from pipelines.rewards.answers.unfinished import is_plain, is_unfinished

MAX_ANSWER = 2_000
"""A longer answer is compared with the reference as text only."""

_INTEGER = re.compile("-?[0-9]{1,18}")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u00ad]")
_SPACES = re.compile(r"(?:(?<!\\)\\[,;:! ]|\\q?quad\b|~|\s)+")
_SIZES = re.compile(r"\\(?:left|right|displaystyle|limits|big|Big|bigg|Bigg)(?![A-Za-z])\.?")
_FRACTION_NAME = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_FRACTION_SHORT = re.compile(r"\\frac\s*([0-9A-Za-z])\s*([0-9A-Za-z])(?![0-9])")
_FRACTION_SHORT_TOP = re.compile(r"\\frac\s*([0-9])\s*(\{[^{}]*\})")
_FRACTION_SHORT_BOTTOM = re.compile(r"\\frac\s*(\{[^{}]*\})\s*([0-9A-Za-z])(?![0-9])")
_ROOT_SHORT = re.compile(r"\\sqrt\s*([0-9A-Za-z])")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|,?\\[!,]\s*,?|,\s?\\!)(?=[0-9]{3}(?![0-9]))")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|mathrm|textrm|textit|mathbf)\{([^{}]*)\}")
_DELIMITERS = ((r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"), ("$", "$"), ("**", "**"), ("`", "`"))
_DOLLAR = "\N{FULLWIDTH DOLLAR SIGN}"
"""Stands for `\\$`, a currency sign, while the delimiters `$` are removed."""
_SYMBOL = re.compile(r"\\?[A-Za-z]+(?:_\{?[A-Za-z0-9]+\}?)?(?:\([A-Za-z]\))?'?")
_EQUALS = re.compile(r"=(?![^{}]*\})")
"""An equals sign outside braces: not that of `\\sum_{k=1}`."""
_COMPARISON = re.compile(r"[<>≤≥≠,;]|\\(?:le|ge|ne|lt|gt|leq|geq|neq|in|text)(?![A-Za-z])|[<>!]=")
_WORDS = re.compile(r"\(?[A-Za-z]\)?|[A-Za-z][A-Za-z' .,-]*[A-Za-z]\.?")
_MATH_WORD = re.compile(r"(?:sqrt|pi|tau|phi|sin|cos|tan|log|ln|exp|inf|infinity|alpha|theta)")
_PROSE = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{3,}(?![A-Za-z])")
# Digits and operators are disjoint, so that a mismatch needs no backtracking.
_UNWORKED = re.compile(
    r"[-+(]*[0-9.,]+(?:(?:[-+*/×÷·()]|\\(?:times|cdot|div)(?![A-Za-z]))+[0-9.,]+)+\)*"
)
_OPERATION = re.compile(
    r"\\(?:sum|prod|int|lim|log|ln|gcd|lcm|det|max|min|lfloor|lceil|bmod)(?![A-Za-z])"
)


@dataclass(frozen=True)
class _Reading:
    r"""An answer read from its text.

    Attributes:
        clean: the text in one spelling.
        squeezed: `clean` without `\text{}` and without any spaces.
        quantity: the number that it states, if it states one.
        words: its words in one spelling, if it is words or a choice's letter.
    """

    clean: str
    squeezed: str
    quantity: Quantity | None
    words: str | None


def decide(answer: str, reference: str) -> bool | None:
    """Whether the answer equals the reference; None if bounded work cannot decide it."""
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
    r"""The text with one spelling of spaces, fractions, `\left`, delimiters and minus signs."""
    text = _INVISIBLE.sub("", text).replace("\u2212", "-").replace(r"\$", _DOLLAR)
    text = _undelimited(text.strip()).replace(_DOLLAR, "$")
    text = _THOUSANDS.sub(",", text)
    text = _SPACES.sub(" ", _SIZES.sub("", text)).strip()
    text = _FRACTION_NAME.sub(r"\\frac", text)
    text = _FRACTION_SHORT.sub(r"\\frac{\1}{\2}", text)
    text = _FRACTION_SHORT_TOP.sub(r"\\frac{\1}\2", text)
    text = _FRACTION_SHORT_BOTTOM.sub(r"\\frac\1{\2}", text)
    text = _ROOT_SHORT.sub(r"\\sqrt{\1}", text)
    return text[:-1].rstrip() if text.endswith((".", ",", ";")) and len(text) > 1 else text


def spelled(text: str) -> str:
    r"""The text as `clean` returns it, with the content of `\text{}` in its place."""
    return _TEXT.sub(r"\1", clean(text)).strip()


def is_number(text: str) -> bool:
    """Whether the text is one exact number, with or without a unit."""
    return _read(text.strip()).quantity is not None


def answer_key(text: str) -> tuple[str, str]:
    """A key that only equal answers share: the exact number with its unit, or the text squeezed."""
    reading = _read(text.strip())
    if "=" in reading.clean:
        reading = _read(_right_side(reading.clean))
    if reading.quantity is not None:
        return str(reading.quantity.value), reading.quantity.unit
    return reading.words or reading.squeezed, "text"


@lru_cache(maxsize=65_536)
def _read(text: str) -> _Reading:
    cleaned = clean(text)
    plain = _TEXT.sub(r"\1", cleaned).strip()
    return _Reading(
        clean=cleaned,
        squeezed=re.sub(r"\s", "", plain),
        quantity=read_quantity(cleaned),
        words=_words(plain),
    )


def _compare(given: _Reading, wanted: _Reading) -> bool | None:
    if given.quantity and wanted.quantity:
        return given.quantity.equals(wanted.quantity)
    # "1, 234" is two numbers: without its space it would be one.
    alike = (given.quantity is None) == (wanted.quantity is None)
    if alike and given.squeezed and given.squeezed == wanted.squeezed:
        return True
    if given.words is not None and wanted.words is not None:
        if given.words == wanted.words:
            return True
        # `yx` equals `xy`: letters outside `\text{}` may be a product.
        bare = given.squeezed == given.clean and wanted.squeezed == wanted.clean
        return bare and bool(_compare_forms(given, wanted))
    if wanted.quantity and _is_no_value(given):
        return False
    if wanted.words is not None and given.quantity:
        return False
    return _compare_forms(given, wanted)


def _compare_forms(given: _Reading, wanted: _Reading) -> bool | None:
    ours, theirs = read_form(given.clean), read_form(wanted.clean)
    if ours is not None and theirs is not None:
        equal = compare_forms(ours, theirs)
        return False if equal and _is_left_unfinished(ours, theirs) else equal
    if (ours and wanted.words is not None) or (theirs and given.words is not None):
        return False
    if theirs is not None and theirs.worth is not None and _OPERATION.search(given.clean):
        # `\sum_{k=1}^{4} k` for 10 repeats the question, but a reference may be left as a sum.
        return None if _OPERATION.search(wanted.clean) else False
    return None


def _is_no_value(given: _Reading) -> bool:
    """Whether an answer to a plain number is prose, or arithmetic that is not worked out."""
    if given.words is not None or _UNWORKED.fullmatch(given.squeezed):
        return True
    found = _PROSE.findall(_TEXT.sub(r" \1 ", given.clean))
    return any(not _MATH_WORD.fullmatch(word.lower()) for word in found)


def _is_left_unfinished(ours: Form, theirs: Form) -> bool:
    """Whether an equal answer is left to calculate, and the reference is not."""
    if ours.worth is None or theirs.worth is None or ours.kind != VALUE:
        return False
    if theirs.quantity:
        return ours.quantity is None and not is_plain(ours.worth.node)
    return is_unfinished(ours.worth.node) and not is_unfinished(theirs.worth.node)


def _words(text: str) -> str | None:
    """The words in lower case, or a choice's letter; None if the text may be mathematics."""
    if not _WORDS.fullmatch(text):
        return None
    if len(text.strip("()")) == 1:
        return text.strip("()")
    return " ".join(text.rstrip(".").lower().split())


def _right_side(text: str) -> str:
    """The value of `x = 5` or `2 + 3 = 5`; the text itself if it states more than a value."""
    *left, right = _EQUALS.split(text)
    if _COMPARISON.search(text) or not right.strip():
        return text
    plain = all(_SYMBOL.fullmatch(side.strip()) or not re.search("[A-Za-z]", side) for side in left)
    return right if plain else text


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
