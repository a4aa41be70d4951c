r"""Other spellings of an answer, and near misses: wrong answers that look like it.

Each rule takes the text of a MATH or GSM8K answer and returns another text, or None where it does
not apply. The rules share no code with the checker: they change text in ways whose effect on the
value is known beforehand, and skip answers for which it is not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction

Rule = Callable[[str], str | None]

_INTEGER = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"(-?[0-9]+)\.([0-9]+)")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{([0-9]+)\}\{([0-9]+)\}")
_ROOT = re.compile(r"([0-9]*) ?\\sqrt\{([0-9]+)\}")
_SURD = re.compile(r"\\frac\{(?:([0-9]+) ?)?(\\sqrt\{[0-9]+\}|\\pi)\}\{([0-9]+)\}")
_TWO_TERMS = re.compile(r"([^-+(){}=,\s]+) ?([-+]) ?([^-+(){}=,\s]+)")
_TUPLE = re.compile(r"\(([^()\[\]]+)\)")
_INTERVAL = re.compile(r"([(\[])([^()\[\],]+),([^()\[\],]+)([)\]])")
_ITEM = re.compile(r"\s*-?(?:[0-9]+|\\frac\{[0-9]+\}\{[0-9]+\}|[0-9]+/[0-9]+)\s*")
_WORDS = re.compile(r"\\text\{\(?([A-Za-z ]+)\)?\}")


def _number(text: str) -> Fraction | None:
    if _INTEGER.fullmatch(text):
        return Fraction(int(text))
    if _DECIMAL.fullmatch(text):
        return Fraction(text)
    match = _FRACTION.fullmatch(text)
    if match and int(match[3]):
        return Fraction(int(match[1] + match[2]), int(match[3]))
    return None


def _items(text: str) -> list[str] | None:
    """The members of a list of numbers without brackets."""
    parts = text.split(",")
    plain = len(parts) > 1 and all(_ITEM.fullmatch(part) for part in parts)
    if not plain or re.fullmatch(r"[0-9]{1,3}(?:,[0-9]{3})+", text):
        return None
    return [part.strip() for part in parts]


def _members(text: str) -> list[str] | None:
    """The members of a tuple or interval in round brackets."""
    match = _TUPLE.fullmatch(text.strip())
    parts = match[1].split(",") if match else []
    return (
        [part.strip() for part in parts] if len(parts) > 1 and all(map(str.strip, parts)) else None
    )


def _fraction(text: str) -> tuple[str, int, int] | None:
    match = _FRACTION.fullmatch(text)
    return (match[1], int(match[2]), int(match[3])) if match and int(match[3]) else None


def _changed(text: str, new: str) -> str | None:
    return new if new != text else None


# --- equivalent -----------------------------------------------------------------------------


def _short_fraction(text: str) -> str | None:
    return _changed(text, re.sub(r"\\frac\{([0-9])\}\{([0-9])\}", r"\\frac\1\2", text))


def _slash(text: str) -> str | None:
    parts = _fraction(text)
    return f"{parts[0]}{parts[1]}/{parts[2]}" if parts else None


def _as_decimal(text: str) -> str | None:
    parts = _fraction(text)
    if parts is None:
        return None
    value = Fraction(parts[1], parts[2])
    for places in range(1, 7):
        if (value * 10**places).denominator == 1:
            digits = str(int(value * 10**places)).rjust(places + 1, "0")
            return f"{parts[0]}{digits[:-places]}.{digits[-places:]}"
    return None


def _as_fraction(text: str) -> str | None:
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return None
    value = Fraction(text)
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _unreduced(text: str) -> str | None:
    parts = _fraction(text)
    return rf"{parts[0]}\frac{{{3 * parts[1]}}}{{{3 * parts[2]}}}" if parts else None


def _mixed(text: str) -> str | None:
    parts = _fraction(text)
    if parts is None or parts[1] < parts[2] or parts[1] % parts[2] == 0:
        return None
    return rf"{parts[0]}{parts[1] // parts[2]}\frac{{{parts[1] % parts[2]}}}{{{parts[2]}}}"


def _sign_inside(text: str) -> str | None:
    parts = _fraction(text)
    return rf"\frac{{-{parts[1]}}}{{{parts[2]}}}" if parts and parts[0] else None


def _with_zero(text: str) -> str | None:
    if _INTEGER.fullmatch(text):
        return text + ".0"
    return text + "0" if _DECIMAL.fullmatch(text) else None


def _thousands(text: str) -> str | None:
    number = int(text) if _INTEGER.fullmatch(text) and len(text) < 16 else 0
    return f"{number:,}" if abs(number) >= 1000 else None


def _without_degrees(text: str) -> str | None:
    match = re.fullmatch(r"(-?[0-9.]+) ?\^\{?\\circ\}?", text)
    return match[1] if match else None


def _with_unit(text: str) -> str | None:
    return text + r"\text{ units}" if _number(text) is not None else None


def _with_dollar(text: str) -> str | None:
    return rf"\${text}" if _INTEGER.fullmatch(text) and text[0] != "-" else None


def _assigned(text: str) -> str | None:
    return f"x = {text}" if _number(text) is not None else None


def _reversed_list(text: str) -> str | None:
    items = _items(text)
    return _changed(text, ", ".join(reversed(items))) if items else None


def _list_in_words(text: str) -> str | None:
    items = _items(text)
    return ", ".join(items[:-1]) + r" \text{ and } " + items[-1] if items else None


def _as_set(text: str) -> str | None:
    items = _items(text)
    return rf"\{{{', '.join(items)}\}}" if items else None


def _left_right(text: str) -> str | None:
    members = _members(text)
    return rf"\left( {' , '.join(members)} \right)" if members else None


def _swapped_union(text: str) -> str | None:
    parts = text.split(r"\cup")
    return rf"{parts[1].strip()} \cup {parts[0].strip()}" if len(parts) == 2 else None


def _root_inside(text: str) -> str | None:
    match = _ROOT.fullmatch(text)
    return rf"\sqrt{{{int(match[1]) ** 2 * int(match[2])}}}" if match and match[1] else None


def _surd_outside(text: str) -> str | None:
    match = _SURD.fullmatch(text)
    return rf"\frac{{{match[1] or 1}}}{{{match[3]}}} {match[2]}" if match else None


def _commuted(text: str) -> str | None:
    match = _TWO_TERMS.fullmatch(text)
    if match is None or "text" in text:
        return None
    return f"{match[3]} + {match[1]}" if match[2] == "+" else f"-{match[3]} + {match[1]}"


def _as_inequality(text: str) -> str | None:
    match = _INTERVAL.fullmatch(text.strip())
    if match is None or match[3].strip() != r"\infty" or "infty" in match[2]:
        return None
    return ("x > " if match[1] == "(" else r"x \ge ") + match[2].strip()


def _spoken(text: str) -> str | None:
    match = _WORDS.fullmatch(text)
    return match[1] if match else None


EQUIVALENT: dict[str, Rule] = {
    "in dollar signs": lambda text: f"${text}$",
    r"in \( \)": lambda text: rf"\({text}\)",
    "spaces around": lambda text: rf"\, {text} \;",
    "full stop": lambda text: f"{text}.",
    r"\dfrac": lambda text: _changed(text, text.replace(r"\frac", r"\dfrac")),
    r"\tfrac": lambda text: _changed(text, text.replace(r"\frac", r"\tfrac")),
    r"\frac12": _short_fraction,
    "a/b": _slash,
    "fraction to decimal": _as_decimal,
    "decimal to fraction": _as_fraction,
    "fraction not reduced": _unreduced,
    "mixed number": _mixed,
    "minus in the numerator": _sign_inside,
    "a zero added": _with_zero,
    "thousands separators": _thousands,
    "degrees left out": _without_degrees,
    "unit added": _with_unit,
    "currency added": _with_dollar,
    "x = added": _assigned,
    "list reversed": _reversed_list,
    "list in words": _list_in_words,
    "list as a set": _as_set,
    r"\left( \right)": _left_right,
    "union swapped": _swapped_union,
    "factor taken into the root": _root_inside,
    "root taken out of the fraction": _surd_outside,
    "two terms swapped": _commuted,
    "interval as inequality": _as_inequality,
    "bmatrix": lambda text: _changed(text, text.replace("pmatrix", "bmatrix")),
    "text to words": _spoken,
}
"""Rules that keep the answer's value."""


# --- near misses -----------------------------------------------------------------------------


def _bumped(text: str) -> str | None:
    """The last whole number plus one, also if it is an exponent or an index."""
    found = list(re.finditer(r"[0-9]+", text))
    if not found:
        return None
    last = found[-1]
    return (
        text[: last.start()] + str(int(last.group()) + 1).zfill(len(last[0])) + text[last.end() :]
    )


def _bumped_first(text: str) -> str | None:
    found = re.findall(r"[0-9]+", text)
    if len(found) < 2:
        return None
    return re.sub(r"[0-9]+", lambda m: str(int(m[0]) + 1).zfill(len(m[0])), text, count=1)


def _is_value(text: str) -> bool:
    return not re.search(r"[,=<>]|text|mbox|cup|infty|\\pm|matrix|\\le|\\ge", text)


def _negated(text: str) -> str | None:
    if not _is_value(text) or not re.search("[1-9a-z]", text):
        return None
    if text.startswith("-") and not re.search("[-+]", text[1:]):
        return text[1:]
    return f"-({text})" if re.search("[-+]", text) else f"-{text}"


def _inner_sign(text: str) -> str | None:
    match = _TWO_TERMS.fullmatch(text)
    if match is None or not _is_value(text) or "0" in (match[1], match[3]):
        return None
    return f"{match[1]} {'-' if match[2] == '+' else '+'} {match[3]}"


def _rounded(text: str) -> str | None:
    """A fraction without a finite decimal, or an irrational root, rounded to four places."""
    parts = _fraction(text)
    if parts and _as_decimal(text) is None and parts[1] % parts[2]:
        return f"{parts[0]}{parts[1] / parts[2]:.4f}"
    match = _ROOT.fullmatch(text)
    if match and math.isqrt(int(match[2])) ** 2 != int(match[2]):
        return f"{int(match[1] or 1) * math.sqrt(int(match[2])):.4f}"
    return None


def _cut_decimal(text: str) -> str | None:
    match = _DECIMAL.fullmatch(text)
    digits = match[2].rstrip("0") if match else ""
    return f"{match[1]}.{digits[:-1]}" if match and len(digits) > 1 else None


def _inverted(text: str) -> str | None:
    parts = _fraction(text)
    if parts is None or parts[1] in (0, parts[2]):
        return None
    return rf"{parts[0]}\frac{{{parts[2]}}}{{{parts[1]}}}"


def _times(text: str, factor: Fraction) -> str | None:
    number = _number(text)
    if not number:
        return None
    scaled = number * factor
    sign = "-" if scaled < 0 else ""
    if scaled.denominator == 1:
        return str(scaled)
    return rf"{sign}\frac{{{abs(scaled.numerator)}}}{{{scaled.denominator}}}"


def _other_brackets(text: str) -> str | None:
    members = _members(text)
    return f"[{', '.join(members)}]" if members and r"\infty" not in text else None


def _one_bracket(text: str) -> str | None:
    match = _INTERVAL.fullmatch(text.strip())
    if match is None or "infty" in match[2]:
        return None
    return ("[" if match[1] == "(" else "(") + text.strip()[1:]


def _permuted(text: str) -> str | None:
    members = _members(text)
    if members is None or r"\infty" in text or len(set(members)) < 2:
        return None
    turned = members[1:] + members[:1]
    return f"({', '.join(turned)})" if turned != members else None


def _longer_tuple(text: str) -> str | None:
    members = _members(text)
    return f"({', '.join([*members, members[-1]])})" if members else None


def _one_missing(text: str) -> str | None:
    items = _items(text)
    return ", ".join(items[:-1]) if items else None


def _one_more(text: str) -> str | None:
    items = _items(text)
    if items:
        return f"{text}, 97"
    return f"{text}, {int(text) + 1}" if _INTEGER.fullmatch(text) else None


def _unworked(text: str) -> str | None:
    return f"{int(text) - 1} + 1" if _INTEGER.fullmatch(text) else None


def _summed(text: str) -> str | None:
    if not re.fullmatch("[1-9][0-9]?", text):
        return None
    return rf"\sum_{{k=1}}^{{{text}}} 1"


def _of_number(before: str, after: str) -> Rule:
    return lambda text: f"{before}{text}{after}" if _number(text) else None


def _joined_mixed(text: str) -> str | None:
    """A mixed number whose whole part has become digits of the numerator."""
    mixed = _mixed(text)
    match = re.fullmatch(r"(-?[0-9]+)\\frac\{([0-9]+)\}\{([0-9]+)\}", mixed or "")
    joined = rf"\frac{{{match[1]}{match[2]}}}{{{match[3]}}}" if match else text
    return joined if _number(joined) != _number(text) else None


def _split_thousands(text: str) -> str | None:
    written = _thousands(text)
    return written.replace(",", ", ") if written else None


def _other_word(text: str) -> str | None:
    match = _WORDS.fullmatch(text)
    if match is None:
        return None
    if len(match[1]) == 1:
        return rf"\text{{{'B' if match[1] != 'B' else 'A'}}}"
    return rf"\text{{not {match[1]}}}"


NEAR_MISS: dict[str, Rule] = {
    "last number one higher": _bumped,
    "first number one higher": _bumped_first,
    "sign changed": _negated,
    "sign between two terms changed": _inner_sign,
    "rounded to four places": _rounded,
    "decimal cut": _cut_decimal,
    "fraction inverted": _inverted,
    "ten times": lambda text: _times(text, Fraction(10)),
    "a tenth": lambda text: _times(text, Fraction(1, 10)),
    "square brackets for round": _other_brackets,
    "one bracket changed": _one_bracket,
    "tuple permuted": _permuted,
    "tuple longer": _longer_tuple,
    "a member missing": _one_missing,
    "a member more": _one_more,
    "not worked out": _unworked,
    "a sum stated": _summed,
    "a bare symbol": lambda text: "x" if _number(text) is not None else None,
    "times x": _of_number("", "x"),
    "times pi": _of_number("", r"\pi"),
    "plus C": lambda text: f"{text} + C" if _is_value(text) else None,
    "or more": _of_number("", " or more"),
    "not": _of_number("not ", ""),
    "two choices": lambda text: f"{text} or {int(text) + 1}" if _INTEGER.fullmatch(text) else None,
    "in prose": _of_number("I think that the result could be ", ""),
    "million": _of_number("", r"\text{ million}"),
    "mixed number joined": _joined_mixed,
    "thousands split": _split_thousands,
    "equation of itself": lambda text: f"{text} = {text}+1" if _INTEGER.fullmatch(text) else None,
    "another word": _other_word,
}
"""Rules that change the answer's value."""


def written(answer: str, rules: dict[str, Rule]) -> Iterator[tuple[str, str]]:
    """(rule, text) for each rule that applies to the answer."""
    for name, rule in rules.items():
        text = rule(answer.strip())
        if text is not None:
            yield name, text
