"""Numbers as they are written in answers, read exactly: no floats, no evaluation, bounded work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 1_000
"""Longer numbers are compared as text: Python refuses to convert more than 4,300 digits."""
MAX_EXPONENT = 400

PERCENT = "%"

THOUSANDS = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])"
"""The pattern of a whole number with thousands separators."""
INTEGER = rf"(?:{THOUSANDS}|[0-9]+)"
"""The pattern of a whole number without a sign."""
_DECIMAL = rf"(?:{INTEGER}(?:\.[0-9]*)?|\.[0-9]+)"
_SIGNED = rf"[-+]?{_DECIMAL}"
_FRACTION = re.compile(
    rf"\\frac\{{\s*(?P<top>{_SIGNED})\s*\}}\{{\s*(?P<bottom>{_SIGNED})\s*\}}"
    rf"|(?P<over>{_DECIMAL})\s*/\s*(?P<under>{_DECIMAL})"
)
_MIXED = re.compile(
    rf"(?P<whole>{INTEGER})\s*(?:\\frac\{{(?P<top>[0-9]+)\}}\{{(?P<bottom>[0-9]+)\}}"
    r"|\s(?P<over>[0-9]+)/(?P<under>[0-9]+))"
)
_SCIENTIFIC = re.compile(
    rf"(?P<digits>{_DECIMAL})\s*(?:(?:\\times|\\cdot|\*|×)\s*10\s*\^\s*\{{?|[eE])"
    r"(?P<exponent>[-+]?[0-9]{1,4})\}?"
)
_REPEATING = re.compile(r"(?P<whole>[0-9]*)\.(?P<first>[0-9]*)\\overline\{(?P<again>[0-9]+)\}")
_PLAIN = re.compile(_DECIMAL)
_NUMBER_START = re.compile(r"[-+]?\s*(?:\\\$|[$€£¥])?\s*[-+]?\s*(?=[0-9.\\])")

_CURRENCIES = {"$": "dollar", r"\$": "dollar", "€": "euro", "£": "pound", "¥": "yen"}
_DEGREES = re.compile(r"(?:\^\s*\{?\s*\\circ\s*\}?|°|\\degree)\Z")
_PERCENT = re.compile(r"(?:\\?%|\s(?:percent|per cent))\Z", re.IGNORECASE)
_WORDS_AFTER = re.compile(r"[A-Za-z]+\.?(?: [A-Za-z]+){0,2}\Z")
_TEXT_AFTER = re.compile(
    r"\\(?:text|mbox|mathrm|textrm|operatorname)\{([A-Za-z .]*)\}(\^\{?[2-9]\}?)?\Z"
)

# Words that change the number, or are mathematics: "5 million" is not 5 of something.
_NOT_A_UNIT = re.compile(
    r"(?:hundred|thousand|[mbtr]+illion|dozen|score|quarter|third|fourth|fifth|sixth|tenth|pair"
    r"|hundredth|thousandth|root)s?|half|halves|pi|tau|phi|alpha|beta|gamma|delta|theta|omega"
    r"|lambda|sigma|sqrt|sin|cos|tan|log|exp|ln|mod|modulo|inf|infinity|factorial|squared|cubed"
    r"|choose|plus|minus|times|over|divided|by|and|or|not|to|of|than|less|more|least|most|about"
    r"|approximately|remainder|base|power|double|twice|if|when|where|is|are|was"
)
_SHORT_UNIT = re.compile(r"[ckm]m|[km]g|lbs?|oz|ft|yd|hrs?|mi|ml|in|[ap]m")
_SAME_UNIT = {
    "centimeter": "cm", "centimetre": "cm", "millimeter": "mm", "kilometer": "km", "meter": "m",
    "metre": "m", "kilogram": "kg", "gram": "g", "feet": "ft", "foot": "ft", "inche": "in",
    "inch": "in", "hour": "hr", "minute": "min", "second": "sec", "pound": "lb", "ounce": "oz",
    "mile": "mi", "yard": "yd", "cents": "cent",
}  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """An exact number and its unit; the unit is empty if none was given."""

    value: Fraction
    unit: str = ""

    def equals(self, other: Quantity) -> bool:
        """Whether two answers state the same quantity.

        A unit that only one of them has is assumed for the other; different units make different
        quantities. A percentage equals its value (50 % is 1/2), and also the bare number, which is
        how answers to "what percent" are given.
        """
        if (self.unit == PERCENT) != (other.unit == PERCENT):
            if self.unit and other.unit:
                return False
            return self.value == other.value or self._plain() == other._plain()
        if self.unit and other.unit and self.unit != other.unit:
            return False
        return self.value == other.value

    def _plain(self) -> Fraction:
        return self.value / 100 if self.unit == PERCENT else self.value


def read_quantity(text: str) -> Quantity | None:
    r"""The number that the whole text states, or None if it does not state one.

    Reads integers, decimals, thousands separators, `a/b`, `\frac{a}{b}`, mixed numbers, scientific
    notation and repeating decimals, with at most one currency sign before the number, and one
    percent sign, degree sign or unit after it.

    Args:
        text: cleaned by `equality.clean`.
    """
    if len(text) > MAX_DIGITS:
        return None
    start = _NUMBER_START.match(text)
    if start is None:
        return None
    lead = start.group()
    currency = next((c for c in (r"\$", "$", "€", "£", "¥") if c in lead), "")
    signs = lead.replace(currency, "") if currency else lead
    number, unit = _split_unit(text[start.end() :].strip())
    if len(signs.split()) > 1 or len(signs.strip()) > 1 or (unit and currency):
        return None
    value = _read_unsigned(number)
    if value is None:
        return None
    return Quantity(-value if "-" in signs else value, _CURRENCIES.get(currency, unit or ""))


def _split_unit(text: str) -> tuple[str, str]:
    """The number and its unit; the unit is empty if the text has none that can be recognized."""
    for pattern, unit in ((_PERCENT, PERCENT), (_DEGREES, "degree")):
        match = pattern.search(text)
        if match:
            return text[: match.start()].strip(), unit
    match = _TEXT_AFTER.search(text)
    if match:
        unit = _canonical(match.group(1), in_text=True)
        power = (match.group(2) or "").strip("^{}")
        return (text[: match.start()].strip(), unit + power) if unit else (text, "")
    number, space, words = text.partition(" ")
    while space and words[:1].isdigit():  # "1 1/2 cups": the unit starts at the first word
        more, space, words = words.partition(" ")
        number = f"{number} {more}"
    if space and _WORDS_AFTER.match(words):
        unit = _canonical(words, in_text=False)
        return (number, unit) if unit else (text, "")
    return text, ""


def _canonical(words: str, *, in_text: bool) -> str:
    parts = words.lower().replace(".", "").split()
    if not parts or any(_NOT_A_UNIT.fullmatch(part) for part in parts):
        return ""
    if not in_text and len(parts[0]) < 3 and not _SHORT_UNIT.fullmatch(parts[0]):
        return ""  # "5 x" is a product
    joined = " ".join(part[:-1] if len(part) > 2 and part[-1] == "s" else part for part in parts)
    return _SAME_UNIT.get(joined, joined)


def _read_unsigned(text: str) -> Fraction | None:
    if _PLAIN.fullmatch(text):
        return read_decimal(text)
    match = _FRACTION.fullmatch(text)
    if match:
        return _ratio(match["top"] or match["over"], match["bottom"] or match["under"])
    match = _MIXED.fullmatch(text)
    if match:
        part = _ratio(match["top"] or match["over"], match["bottom"] or match["under"])
        return None if part is None or part >= 1 else read_decimal(match["whole"]) + part
    match = _REPEATING.fullmatch(text)
    if match:
        whole, first, again = match.groups()
        end = Fraction(int(again), 10 ** len(again) - 1)
        return (int(whole + first or "0") + end) / 10 ** len(first)
    match = _SCIENTIFIC.fullmatch(text)
    if match and abs(int(match["exponent"])) <= MAX_EXPONENT:
        return read_decimal(match["digits"]) * Fraction(10) ** int(match["exponent"])
    return None


def read_decimal(text: str) -> Fraction:
    """The value of a decimal, which may have a sign and thousands separators."""
    sign = -1 if text.startswith("-") else 1
    whole, _, part = text.lstrip("+-").replace(",", "").partition(".")
    return Fraction(sign * int(whole + part or "0"), 10 ** len(part))


def _ratio(top: str, bottom: str) -> Fraction | None:
    denominator = read_decimal(bottom)
    return read_decimal(top) / denominator if denominator else None
