r"""Structured answers: lists, sets, tuples, intervals, unions, matrices, equations, inequalities.

An answer is read into a `Form`; two forms are compared member by member. Brackets count: `(1,2)` is
not `[1,2]`, and a tuple is ordered. A bare list is a set, as answers to "find all x" are; compared
with a tuple it has to be in the tuple's order. An answer that repeats a member of a list or set (a
double root) states it once, unless the reference repeats members too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from pipelines.rewards.answers.brackets import is_enclosed, split_members
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
LINK = re.compile(r",?\s*\\(?:text|mbox|textrm)\{\s*,?\s*(?:and|or)\s*\}\s*|,?\s+(?:and|or)\s+|;")
_UNIT = re.compile(r"\\(?:text|mbox|mathrm|textrm)\s*\{[A-Za-z .]*\}(?:\^\{?[23]\}?)?\Z")
_BASED = re.compile(r"(-?[0-9A-F.]+)_(?:\{([0-9]+|\\text\{[a-z]+\})\}|([0-9]+))")
_MATRIX = re.compile(r"\\begin\{([pbvV]?)matrix\}(.*)\\end\{\1matrix\}", re.DOTALL)
_CUP = re.compile(r"\\cup(?![A-Za-z])")
_MEMBERSHIP = re.compile(r"[A-Za-z]\s*\\in(?![A-Za-z])\s*")
_ORDER = re.compile(r"(<=|>=|[<>≤≥]|\\(?:leqslant|geqslant|leq|geq|le|ge|lt|gt)(?![A-Za-z]))")
_NAME = re.compile(r"[A-Za-z]|\\[a-z]+")
PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])|±")


@dataclass(frozen=True)
class Form:
    """The structure of an answer.

    Attributes:
        kind: one of the kinds above.
        members: the parts of a list, set, tuple, interval or union; a matrix's cells, row by row.
        shape: the brackets of a tuple or interval; a matrix's number of rows; the digits and base of
            a number in a base.
        quantity: the number that a value is, with or without a unit; None for other expressions.
        worth: the values of an expression, or of the difference of an equation's sides; None for
            an infinity.
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
    """The structure of the whole text, or None if it is not one of those read here.

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
    """Whether an answer equals a reference; None if that cannot be decided here."""
    if ours.kind != theirs.kind:
        return _compare_kinds(ours, theirs)
    if ours.kind == VALUE:
        return _compare_values(ours, theirs)
    if ours.kind == EQUATION:
        return _compare_equations(ours, theirs)
    if ours.kind in (BRACKETED, MATRIX):
        alike = ours.shape == theirs.shape
        return _in_order(ours.members, theirs.members) if alike else False
    if ours.kind == BASED:
        return ours.shape == theirs.shape
    return _same_members(ours.members, theirs.members)


def _compare_kinds(ours: Form, theirs: Form) -> bool | None:
    kinds = {ours.kind, theirs.kind}
    if (ours.kind, theirs.kind) == (LIST, VALUE):
        return _same_members(ours.members, (theirs,))  # 2, 2 for the double root 2
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
    sets = _CUP.split(text)
    if len(sets) > 1:
        return Form(UNION, tuple(_form(part) for part in sets))
    if _ORDER.search(text):
        return _inequality(text)
    return _group(_MEMBERSHIP.sub("", text, count=1) if r"\in" in text else text)


def _group(text: str) -> Form:
    listed = _split(LINK.sub(",", text))
    if len(listed) > 1 and read_quantity(text) is None:
        return Form(LIST, _members(listed))
    if PLUS_MINUS.search(text):
        return Form(LIST, _both_signs(text))
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return Form(SET, _members(_split(text[2:-2])))
    if is_enclosed(text):
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
    left, _, right = text.partition("=")
    if "=" in right or not left.strip() or not right.strip():
        raise Unread(text)
    return Form(EQUATION, worth=evaluate(parse(f"({left})-({right})")))


def _inequality(text: str) -> Form:
    r"""`x > 3` and `1 < x \le 2` as intervals."""
    parts = [part.strip() for part in _ORDER.split(text)]
    sides, signs = parts[::2], parts[1::2]
    named = [number for number, side in enumerate(sides) if _NAME.fullmatch(side)]
    if len(sides) > 3 or len(named) != 1 or "=" in "".join(sides) or "," in text:
        raise Unread(text)
    place = named[0]
    descending = [sign[0] in ">≥" or sign.startswith(r"\g") for sign in signs]
    if any(descending) != all(descending) or (len(sides) == 3 and place != 1):
        raise Unread(text)
    if all(descending):
        sides, signs, place = sides[::-1], signs[::-1], len(sides) - 1 - place
    closed = ["=" in sign or "e" in sign or sign in "≤≥" for sign in signs]
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
    bars = "|" if kind in ("v", "V") else ""  # a determinant is not a matrix
    return Form(MATRIX, tuple(cells), f"{bars}{len(rows)}")


def _members(parts: list[str]) -> tuple[Form, ...]:
    if len(parts) > MAX_MEMBERS or (len(parts) > 1 and not all(parts)):
        raise Unread("an empty member")
    sides = [part.partition("=") for part in parts]
    names = {left.strip() for left, equals, _ in sides if equals}
    if len(names) == 1 and _NAME.fullmatch(next(iter(names))):  # x = 1, x = -1
        parts = [right if equals else left for left, equals, right in sides]
    found: list[Form] = []
    for part in parts:
        if PLUS_MINUS.search(part):
            found.extend(_both_signs(part))
        elif part.strip():
            found.append(_form(part))
    return tuple(found)


def _both_signs(text: str) -> tuple[Form, ...]:
    name, equals, right = text.partition("=")
    text = right if equals and _NAME.fullmatch(name.strip()) else text
    if len(PLUS_MINUS.findall(text)) > 1:
        raise Unread(text)
    return tuple(_single(PLUS_MINUS.sub(sign, text).strip().lstrip("+")) for sign in "+-")


def _split(text: str) -> list[str]:
    parts = split_members(text)
    if parts is None:
        raise Unread(text)
    return parts


def _compare_values(ours: Form, theirs: Form) -> bool | None:
    if ours.infinite or theirs.infinite:
        return ours.infinite == theirs.infinite
    if ours.quantity and theirs.quantity:
        return ours.quantity.equals(theirs.quantity)
    assert ours.worth is not None
    assert theirs.worth is not None
    return same(ours.worth, theirs.worth)


def _compare_equations(ours: Form, theirs: Form) -> bool | None:
    """Whether the differences of their sides are equal up to a factor.

    Those of `xy = 1` and `y = 1/x` are not: if a denominator or a root can be cleared, a difference
    decides nothing.
    """
    assert ours.worth is not None
    assert theirs.worth is not None
    equal = proportional(ours.worth, theirs.worth)
    clearable = any(walk(worth.node, _can_be_cleared) for worth in (ours.worth, theirs.worth))
    return None if equal is False and clearable else equal


def _can_be_cleared(node: Node) -> bool:
    if node.kind not in ("quotient", "root", "power", "absolute"):
        return False
    return walk(node.parts[-1], lambda part: part.kind == "name") or node.kind == "root"


def _compare_based(ours: Form, theirs: Form) -> bool | None:
    """Whether a number in a base equals one without: the base is assumed for it, as a unit is."""
    based, other = (ours, theirs) if ours.kind == BASED else (theirs, ours)
    if other.kind != VALUE:
        return False
    if other.quantity is None:
        return None
    stated = read_quantity(based.shape.partition("_")[0])
    return stated is not None and stated.value == other.quantity.value


def _in_order(ours: tuple[Form, ...], theirs: tuple[Form, ...]) -> bool | None:
    if len(ours) != len(theirs):
        return False
    verdicts = [_compare_members(a, b) for a, b in zip(ours, theirs, strict=True)]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _same_members(ours: tuple[Form, ...], theirs: tuple[Form, ...]) -> bool | None:
    """Whether the members can be paired so that each equals its partner, in any order.

    Members that an answer repeats count once, unless the reference repeats some too.
    """
    if len(ours) > len(theirs) and len(_distinct(theirs)) == len(theirs):
        ours = _distinct(ours)
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


def _distinct(members: tuple[Form, ...]) -> tuple[Form, ...]:
    kept: list[Form] = []
    for member in members:
        if not any(_compare_members(member, other) for other in kept):
            kept.append(member)
    return tuple(kept)


def _compare_members(ours: Form, theirs: Form) -> bool | None:
    # "x = 2, y = 3" for "2, 3" is left to math-verify, which knows the names.
    if {ours.kind, theirs.kind} == {EQUATION, VALUE}:
        return None
    return compare_forms(ours, theirs)
