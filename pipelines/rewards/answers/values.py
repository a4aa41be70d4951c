"""Values of an expression at fixed points, and whether two expressions have the same values."""

from __future__ import annotations

import cmath
import math
import operator
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from pipelines.rewards.answers.expressions import Node, Unread

POINTS = 3
DIGITS = 160
LARGEST = 1e100
"""Limit of values and intermediate values, so that `DIGITS` leave enough after any cancellation."""
SAME = 1e-120
NOTHING = 1e-155
"""Rounding error left of a zero, where the largest intermediate value is 1."""

CLEARLY = 1e-9
"""Machine numbers differ if they are further apart, relative to the largest intermediate value."""


@dataclass(frozen=True)
class Worth:
    """An expression's values at the points: machine numbers, and `DIGITS` digits on request.

    Attributes:
        node: the expression.
        fast: a value for each point.
        scale: the largest absolute intermediate value, at least 1.
    """

    node: Node
    fast: tuple[complex, ...]
    scale: float

    @cached_property
    def precise(self) -> tuple[complex, ...]:
        """The values to `DIGITS` digits, as mpmath's complex numbers.

        Raises:
            Unread: as for `evaluate`.
        """
        context = _precise_context()
        arithmetic = _Arithmetic(context, context.mpc, context.fraction)
        return tuple(arithmetic.value(self.node, point) for point in range(POINTS))


def evaluate(node: Node) -> Worth:
    """The expression's values at every point.

    Raises:
        Unread: it has no value at a point, or a value or an intermediate value is too large.
    """
    arithmetic = _Arithmetic(cmath, complex, operator.truediv)
    fast = tuple(arithmetic.value(node, point) for point in range(POINTS))
    return Worth(node, fast, arithmetic.largest)


def same(ours: Worth, theirs: Worth) -> bool | None:
    """Whether two expressions are equal; None if they agree at some points only."""
    least = CLEARLY * (ours.scale + theirs.scale)
    if all(abs(a - b) > least for a, b in zip(ours.fast, theirs.fast, strict=True)):
        return False
    try:
        least = NOTHING * max(ours.scale, theirs.scale)
        agree = [_close(a, b, least) for a, b in zip(ours.precise, theirs.precise, strict=True)]
    except Unread:
        return None
    if all(agree):
        return True
    return None if any(agree) else False


def proportional(ours: Worth, theirs: Worth) -> bool | None:
    """Whether one is a constant times the other, as the two sides of one equation are."""
    try:
        pairs = list(zip(ours.precise, theirs.precise, strict=True))
    except Unread:
        return None
    if any(min(abs(a), abs(b)) <= NOTHING * max(ours.scale, theirs.scale) for a, b in pairs):
        return None
    ratios = [a / b for a, b in pairs]
    return all(_close(ratio, ratios[0]) for ratio in ratios[1:])


def _close(a: complex, b: complex, least: float = 0.0) -> bool:
    return abs(a - b) <= SAME * max(abs(a), abs(b)) + least


@cache
def _precise_context() -> Any:
    import mpmath

    context = mpmath.MPContext()
    context.dps = DIGITS
    return context


@dataclass
class _Arithmetic:
    """Arithmetic on complex numbers, the machine's or mpmath's, which share operators and names.

    Attributes:
        library: the functions and constants: `cmath` or a context of mpmath.
        number: makes a complex number.
        fraction: makes a number of a numerator and a denominator.
        largest: the largest absolute value so far, at least 1.
    """

    library: Any
    number: Callable[[complex], complex]
    fraction: Callable[[int, int], float]
    largest: float = 1.0

    def value(self, node: Node, point: int) -> complex:
        """The expression's value at a point.

        Raises:
            Unread: it has none, or a value is too large.
        """
        try:
            return self._value(node, point)
        except (ArithmeticError, ValueError, TypeError) as error:
            raise Unread(str(error)) from None

    def _value(self, node: Node, point: int) -> complex:
        if node.kind == "name":
            value = self._named(node.name, point)
        else:
            value = _OPERATIONS[node.kind](self, node, [self._value(p, point) for p in node.parts])
        size = abs(value)
        if not size <= LARGEST:
            raise Unread("too large")
        self.largest = max(self.largest, size)
        return value

    def _named(self, name: str, point: int) -> complex:
        """A constant, or a variable's coordinate: 0.25 to 1.75, negative at odd points."""
        if name in ("pi", "e"):
            return self.number(getattr(self.library, name))
        if name == "i":
            return self.number(1j)
        share = zlib.crc32(f"{name}/{point}".encode()) / 2**32
        return self.number((0.25 + 1.5 * share) * (-1 if point % 2 else 1))

    def literal(self, node: Node, parts: list[complex]) -> complex:
        """The value of a number as it is written."""
        return self.number(self.fraction(node.value.numerator, node.value.denominator))

    def degrees(self, node: Node, parts: list[complex]) -> complex:
        """An angle in radians."""
        return parts[0] * self.number(self.library.pi) / 180

    def root(self, node: Node, parts: list[complex]) -> complex:
        """A root; of a negative number and an odd degree the real one."""
        inside, degree = parts
        if degree == 2:
            return self.library.sqrt(inside)
        if inside.imag == 0 and inside.real < 0 and degree.real % 2 == 1:
            return -((-inside) ** (1 / degree))
        return inside ** (1 / degree)

    def function(self, node: Node, parts: list[complex]) -> complex:
        """A function's value; a second part is a logarithm's base."""
        if node.name == "log":
            if len(parts) == 1:
                raise Unread("a logarithm without a base")
            return self.library.log(parts[0]) / self.library.log(parts[1])
        if len(parts) > 1:
            raise Unread("a subscript")
        if node.name in _RECIPROCAL_OF:
            return 1 / getattr(self.library, _RECIPROCAL_OF[node.name])(parts[0])
        return getattr(self.library, _LIBRARY_NAMES.get(node.name, node.name))(parts[0])


_RECIPROCAL_OF = {"sec": "cos", "csc": "sin", "cot": "tan"}
_LIBRARY_NAMES = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "ln": "log"}

_OPERATIONS: dict[str, Callable[[_Arithmetic, Node, list[complex]], complex]] = {
    "number": _Arithmetic.literal,
    "sum": lambda by, node, parts: sum(parts[1:], parts[0]),
    "negative": lambda by, node, parts: -parts[0],
    "product": lambda by, node, parts: parts[0] * parts[1],
    "quotient": lambda by, node, parts: parts[0] / parts[1],
    "power": lambda by, node, parts: parts[0] ** parts[1],
    "degrees": _Arithmetic.degrees,
    "absolute": lambda by, node, parts: by.number(abs(parts[0])),
    "root": _Arithmetic.root,
    "function": _Arithmetic.function,
    "binomial": lambda by, node, parts: by.number(math.comb(_whole(parts[0]), _whole(parts[1]))),
    "factorial": lambda by, node, parts: by.number(math.factorial(_whole(parts[0]))),
}


def _whole(value: complex) -> int:
    if value.imag != 0 or value.real != int(value.real) or not 0 <= value.real <= 60:
        raise Unread("not a small whole number")
    return int(value.real)
