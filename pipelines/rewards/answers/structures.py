r"""Answers with an inside: lists, sets, tuples, intervals, unions, matrices, equations, inequalities.

An answer is read into a `Form`; two forms are compared member by member. Brackets count: `(1,2)` is
not `[1,2]`, and a tuple is in order. A bare list is a set, as answers to "find all x" are; held
against a tuple it has to be in the tuple's order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pipelines.rewards.answers.exact_numbers import Quantity, read_quantity
from pipelines.rewards.answers.expressions import Node, Unread, parse, walk
from pipelines.rewards.answers.values import Worth, evaluate, proportional, same

MAX_MEMBERS = 64
MAX_FORM = 1_000

VALUE, LIST, SET, BRACKETED, UNION, MATRIX, EQUATION, BASED = (
    "value", "list", "set", "bracketed", "union", "matrix", "equation", "based",
)  # fmt: skip

_INFINITE = {r"\infty": 1, r"+\infty": 1, r"-\infty": -1, "inf": 1, "-inf": -1, "∞": 1, "-∞": -1}
_EMPTY = {r"\emptyset", r"\varnothing", r"\{\}", "∅"}
_LINK = re.compile(r",?\s*\\(?:text|mbox|textrm)\{\s*,?\s*(?:and|or)\s*\}\s*|,?\s+(?:and|or)\s+|;")
_UNIT = re.compile(r"\\(?:text|mbox|mathrm|textrm)\s*\{[A-Za-z .]*\}(?:\^\{?[23]\}?)?\Z")
_BASED = re.compile(r"(-?[0-9A-F.]+)_(?:\{([0-9]+|\\text\{[a-z]+\})\}|([0-9]+))")
_MATRIX = re.compile(r"\\begin\{([pbvV]?)matrix\}(.*)\\end\{\1matrix\}", re.DOTALL)
_MEMBERSHIP = re.compile(r"[A-Za-z]\s*\\in(?![A-Za-z])\s*")
_ORDER = re.compile(r"(<=|>=|[<>≤≥]|\\(?:leqslant|geqslant|leq|geq|le|ge|lt|gt)(?![A-Za-z]))")
_NAME = re.compile(r"[A-Za-z]|\\[a-z]+")
_PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])|±")
_OPEN, _CLOSE = set("([{"), set(")]}")


@dataclass(frozen=True)
class Form:
    """What an answer is made of.

    Attributes:
        kind: one of the kinds above.
        members: the parts of a list, set, tuple, interval, union or matrix, row by row.
        shape: the brackets of a tuple or interval; the rows of a matrix; the digits and the base.
        quantity: of a value that is a number with or without a unit.
        worth: of a value, or of an equation's difference of sides; None for an infinity.
        infinite: 1 or -1 for an infinity.
    """

    kind: str
    members: tuple[Form, ...] = ()
    shape: str = ""
    quantity: Quantity | None = None
    worth: Worth | None = None
    infinite: int = 0


@lru_cache(maxsize=65_536)
def read_form(text: str) -> Form | None:
    """What the whole text is, or None if that is outside what is read here.

    Args:
        text: cleaned by `equality.clean`.
    """
    if len(text) > MAX_FORM:
        return None
    try:
        return _form(text)
    except Unread:
        return None


def compare_forms(ours: Form, theirs: Form) -> bool | None:
    """Whether two answers are equal; None if that is not for this module to say."""
    if ours.kind != theirs.kind:
        return _compare_kinds(ours, theirs)
    if ours.kind == VALUE:
        return _compare_values(ours, theirs)
    if ours.kind == EQUATION:
        return _compare_equations(ours, theirs)
    if ours.kind in (BRACKETED, MATRIX):
        same_shape = ours.shape == theirs.shape
        return _in_order(ours.members, theirs.members) if same_shape else False
    if ours.kind == BASED:
        return ours.shape == theirs.shape
    return _same_members(ours.members, theirs.members)


def _compare_kinds(ours: Form, theirs: Form) -> bool | None:
    kinds = {ours.kind, theirs.kind}
    if BASED in kinds:
        return _compare_based(ours, theirs)
    if kinds == {LIST, SET}:
        return _same_members(ours.members, theirs.members)
    if kinds == {LIST, BRACKETED} and "()" in (ours.shape, theirs.shape):
        # "1, 2" for (1, 2) leaves its brackets out; "2, 1" is another point.
        return _in_order(ours.members, theirs.members)
    return False


def _form(text: str) -> Form:
    text = text.strip()
    if text in _EMPTY:
        return Form(SET)
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        return _matrix(matrix[1], matrix[2])
    if r"\begin" in text:
        raise Unread(text)
    if r"\cup" in text:
        return Form(UNION, tuple(_form(part) for part in re.split(r"\\cup(?![A-Za-z])", text)))
    if _ORDER.search(text):
        return _inequality(text)
    return _group(_MEMBERSHIP.sub("", text, count=1) if r"\in" in text else text)


def _group(text: str) -> Form:
    listed = _split(_LINK.sub(",", text))
    if len(listed) > 1 and read_quantity(text) is None:
        return Form(LIST, _members(listed))
    if _PLUS_MINUS.search(text):
        return Form(LIST, _both_signs(text))
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return Form(SET, _members(_split(text[2:-2])))
    if _is_enclosed(text):
        inside = _split(text[1:-1])
        if len(inside) > 1:
            return Form(BRACKETED, _members(inside), text[0] + text[-1])
    return _equation(text) if "=" in text else _single(text)


def _single(text: str) -> Form:
    based = _BASED.fullmatch(text.replace(" ", ""))
    if based:
        return Form(BASED, shape=f"{based[1]}_{based[2] or based[3]}")
    if text.replace(" ", "") in _INFINITE:
        return Form(VALUE, infinite=_INFINITE[text.replace(" ", "")])
    quantity = read_quantity(text)
    if quantity is not None:
        return Form(VALUE, quantity=quantity, worth=evaluate(Node("number", value=quantity.value)))
    return Form(VALUE, worth=evaluate(parse(_UNIT.sub("", text))))


def _equation(text: str) -> Form:
    left, equals, right = text.partition("=")
    if not equals or "=" in right or not left.strip() or not right.strip():
        raise Unread(text)
    return Form(EQUATION, worth=evaluate(parse(f"({left})-({right})")))


def _inequality(text: str) -> Form:
    r"""`x > 3` and `1 < x \le 2` as intervals."""
    parts = [part.strip() for part in _ORDER.split(text)]
    sides, signs = parts[::2], parts[1::2]
    named = [number for number, side in enumerate(sides) if _NAME.fullmatch(side)]
    if len(sides) > 3 or len(named) != 1 or "=" in "".join(sides) or "," in text:
        raise Unread(text)
    if any(sign[0] == ">" or sign[:2] in (r"\g", "≥") or sign == "≥" for sign in signs):
        sides, signs = sides[::-1], signs[::-1]
        named = [len(sides) - 1 - named[0]]
        if not all(sign[0] in ">≥" or sign[:2] == r"\g" for sign in signs):
            raise Unread(text)
    closed = ["=" in sign or "e" in sign or sign in "≤≥" for sign in signs]
    place = named[0]
    if len(sides) == 3 and place != 1:
        raise Unread(text)
    low = _single(sides[place - 1]) if place > 0 else Form(VALUE, infinite=-1)
    high = _single(sides[place + 1]) if place + 1 < len(sides) else Form(VALUE, infinite=1)
    left = "[" if place > 0 and closed[0] else "("
    right = "]" if place + 1 < len(sides) and closed[-1] else ")"
    return Form(BRACKETED, (low, high), left + right)


def _matrix(kind: str, body: str) -> Form:
    rows = [row.split("&") for row in re.split(r"\\\\(?:\[[^\]]*\])?", body) if row.strip()]
    cells = [_single(cell.strip()) for row in rows for cell in row]
    if len(cells) > MAX_MEMBERS or len({len(row) for row in rows}) > 1:
        raise Unread(body)
    drawn = "|" if kind in ("v", "V") else ""  # a determinant is not a matrix
    return Form(MATRIX, tuple(cells), f"{drawn}{len(rows)}")


def _members(parts: list[str]) -> tuple[Form, ...]:
    if len(parts) > MAX_MEMBERS or (len(parts) > 1 and not all(parts)):
        raise Unread("an empty member")
    sides = [part.partition("=") for part in parts]
    names = {left.strip() for left, equals, _ in sides if equals}
    if len(names) == 1 and _NAME.fullmatch(next(iter(names))):  # x = 1, x = -1
        parts = [right if equals else left for left, equals, right in sides]
    found: list[Form] = []
    for part in parts:
        if _PLUS_MINUS.search(part):
            found.extend(_both_signs(part))
        elif part.strip():
            found.append(_form(part))
    return tuple(found)


def _both_signs(text: str) -> tuple[Form, ...]:
    name, equals, right = text.partition("=")
    text = right if equals and _NAME.fullmatch(name.strip()) else text
    if len(_PLUS_MINUS.findall(text)) > 1:
        raise Unread(text)
    return tuple(_single(_PLUS_MINUS.sub(sign, text).strip().lstrip("+")) for sign in "+-")


def _split(text: str) -> list[str]:
    """The parts between the commas that are outside of all brackets."""
    depth, start, parts = 0, 0, []
    for place, sign in enumerate(text):
        if sign in _OPEN:
            depth += 1
        elif sign in _CLOSE:
            depth -= 1
            if depth < 0:
                raise Unread(text)
        elif sign == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]


def _is_enclosed(text: str) -> bool:
    """Whether its first bracket is closed by its last: (1,2), and not (x-1)(x+1)."""
    if text[:1] not in ("(", "[") or text[-1:] not in (")", "]"):
        return False
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in _OPEN) - (sign in _CLOSE)
        if depth == 0:
            return place == len(text) - 1
    return False


def _compare_values(ours: Form, theirs: Form) -> bool | None:
    if ours.infinite or theirs.infinite:
        return ours.infinite == theirs.infinite
    if ours.quantity and theirs.quantity:
        return ours.quantity.equals(theirs.quantity)
    assert ours.worth is not None
    assert theirs.worth is not None
    return same(ours.worth, theirs.worth)


def _compare_equations(ours: Form, theirs: Form) -> bool | None:
    r"""Equal if their sides differ by the same up to a factor, which `xy = 1` and `y = 1/x` do not."""
    assert ours.worth is not None
    assert theirs.worth is not None
    equal = proportional(ours.worth, theirs.worth)
    rational = any(walk(worth.node, _may_be_cleared) for worth in (ours.worth, theirs.worth))
    return None if equal is False and rational else equal


def _may_be_cleared(node: Node) -> bool:
    if node.kind not in ("quotient", "root", "power", "absolute"):
        return False
    return walk(node.parts[-1], lambda part: part.kind == "name") or node.kind == "root"


def _compare_based(ours: Form, theirs: Form) -> bool | None:
    """A base that only one of the two states is taken for granted, as units are."""
    based, other = (ours, theirs) if ours.kind == BASED else (theirs, ours)
    if other.kind != VALUE:
        return False
    if other.quantity is None:
        return None
    digits = based.shape.partition("_")[0]
    stated = read_quantity(digits)
    return stated is not None and stated.value == other.quantity.value


def _in_order(ours: tuple[Form, ...], theirs: tuple[Form, ...]) -> bool | None:
    if len(ours) != len(theirs):
        return False
    return _all(_compare_members(a, b) for a, b in zip(ours, theirs, strict=True))


def _same_members(ours: tuple[Form, ...], theirs: tuple[Form, ...]) -> bool | None:
    """Whether each has a match of its own on the other side."""
    if len(ours) != len(theirs):
        return False
    left, unsure = list(theirs), False
    for member in ours:
        verdicts = [_compare_members(member, other) for other in left]
        if True in verdicts:
            del left[verdicts.index(True)]
        elif None in verdicts:
            unsure = True
        else:
            return False
    return None if unsure else True


def _compare_members(ours: Form, theirs: Form) -> bool | None:
    # "x = 2, y = 3" for "2, 3": math-verify knows the names.
    if {ours.kind, theirs.kind} == {EQUATION, VALUE}:
        return None
    return compare_forms(ours, theirs)


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    found = list(verdicts)
    if False in found:
        return False
    return None if None in found else True
