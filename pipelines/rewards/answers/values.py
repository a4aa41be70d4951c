"""What an expression is worth at a few fixed points, and whether two are worth the same."""

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
"""Values and intermediate values let in, so that `DIGITS` leave enough after any cancellation."""
SAME = 1e-120
NOTHING = 1e-155
"""What is left of a zero, for a largest value of 1 on the way."""

CLEARLY = 1e-9
"""Machine numbers that differ by more, measured against the largest value on the way, differ."""


@dataclass(frozen=True)
class Worth:
    """An expression's values at the points, in machine numbers; to `DIGITS` digits if asked.

    Attributes:
        node: the expression.
        fast: a value for each point.
        scale: the largest absolute value on the way, 1 or more.
    """

    node: Node
    fast: tuple[complex, ...]
    scale: float

    @cached_property
    def precise(self) -> tuple[Any, ...]:
        """The values to `DIGITS` digits."""
        numbers = _precise_numbers()
        try:
            return tuple(_value(self.node, point, numbers) for point in range(POINTS))
        except (ArithmeticError, ValueError, TypeError) as error:
            raise Unread(str(error)) from None


def evaluate(node: Node) -> Worth:
    """What the expression is worth at every point.

    Raises:
        Unread: it has no value there, or a value or an intermediate one is too large.
    """
    numbers = _MachineNumbers()
    try:
        fast = tuple(complex(_value(node, point, numbers)) for point in range(POINTS))
    except (ArithmeticError, ValueError, TypeError) as error:
        raise Unread(str(error)) from None
    return Worth(node, fast, numbers.largest)


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


def _close(a: Any, b: Any, least: float = 0.0) -> bool:
    return bool(abs(a - b) <= SAME * max(abs(a), abs(b)) + least)


def _coordinate(name: str, point: int) -> float:
    """Between 0.25 and 1.75 at even points, and its negative at odd ones; never a round number."""
    share = zlib.crc32(f"{name}/{point}".encode()) / 2**32
    return (0.25 + 1.5 * share) * (-1 if point % 2 else 1)


class _MachineNumbers:
    """Complex numbers of the machine: what overflows them is an exception, and no long work."""

    pi, e = cmath.pi, cmath.e
    sqrt, log, exp = staticmethod(cmath.sqrt), staticmethod(cmath.log), staticmethod(cmath.exp)
    sin, cos, tan = staticmethod(cmath.sin), staticmethod(cmath.cos), staticmethod(cmath.tan)
    sinh, cosh, tanh = staticmethod(cmath.sinh), staticmethod(cmath.cosh), staticmethod(cmath.tanh)
    asin, acos, atan = staticmethod(cmath.asin), staticmethod(cmath.acos), staticmethod(cmath.atan)
    power = staticmethod(operator.pow)
    mpc = complex

    def __init__(self) -> None:
        self.largest = 1.0

    @staticmethod
    def fraction(top: int, bottom: int) -> float:
        return top / bottom

    def see(self, size: float) -> None:
        self.largest = max(self.largest, size)


@cache
def _precise_numbers() -> Any:
    import mpmath

    class Numbers(mpmath.MPContext):
        def see(self, size: Any) -> None:
            """The machine numbers have seen it."""

    context = Numbers()
    context.dps = DIGITS
    return context


_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sin": lambda f, x: f.sin(x),
    "cos": lambda f, x: f.cos(x),
    "tan": lambda f, x: f.tan(x),
    "sec": lambda f, x: 1 / f.cos(x),
    "csc": lambda f, x: 1 / f.sin(x),
    "cot": lambda f, x: 1 / f.tan(x),
    "arcsin": lambda f, x: f.asin(x),
    "arccos": lambda f, x: f.acos(x),
    "arctan": lambda f, x: f.atan(x),
    "sinh": lambda f, x: f.sinh(x),
    "cosh": lambda f, x: f.cosh(x),
    "tanh": lambda f, x: f.tanh(x),
    "ln": lambda f, x: f.log(x),
    "exp": lambda f, x: f.exp(x),
}


def _value(node: Node, point: int, field: Any) -> Any:
    parts = [_value(part, point, field) for part in node.parts]
    value = _OPERATIONS[node.kind](node, parts, point, field)
    size = abs(value)
    if not size <= LARGEST:
        raise Unread("too large")
    field.see(size)
    return value


def _named(node: Node, parts: list[Any], point: int, field: Any) -> Any:
    if node.name == "pi":
        return field.mpc(field.pi)
    if node.name == "e":
        return field.mpc(field.e)
    return field.mpc(1j) if node.name == "i" else field.mpc(_coordinate(node.name, point))


def _literal(node: Node, parts: list[Any], point: int, field: Any) -> Any:
    return field.mpc(field.fraction(node.value.numerator, node.value.denominator))


def _root(node: Node, parts: list[Any], point: int, field: Any) -> Any:
    inside, degree = parts
    if degree == 2:
        return field.sqrt(inside)
    if inside.imag == 0 and inside.real < 0 and degree.real % 2 == 1:  # the real root
        return -field.power(-inside, 1 / degree)
    return field.power(inside, 1 / degree)


def _function(node: Node, parts: list[Any], point: int, field: Any) -> Any:
    if node.name == "log":
        if len(parts) == 1:
            raise Unread("a logarithm without a base")
        return field.log(parts[0]) / field.log(parts[1])
    if len(parts) > 1:
        raise Unread("a subscript")
    return _FUNCTIONS[node.name](field, parts[0])


def _choose(node: Node, parts: list[Any], point: int, field: Any) -> Any:
    return field.mpc(math.comb(_whole(parts[0]), _whole(parts[1])))


def _factorial(node: Node, parts: list[Any], point: int, field: Any) -> Any:
    return field.mpc(math.factorial(_whole(parts[0])))


def _whole(value: Any) -> int:
    if value.imag != 0 or value.real != int(value.real) or not 0 <= value.real <= 60:
        raise Unread("not a small whole number")
    return int(value.real)


_OPERATIONS: dict[str, Callable[[Node, list[Any], int, Any], Any]] = {
    "number": _literal,
    "name": _named,
    "sum": lambda node, parts, point, field: sum(parts[1:], parts[0]),
    "negative": lambda node, parts, point, field: -parts[0],
    "product": lambda node, parts, point, field: parts[0] * parts[1],
    "quotient": lambda node, parts, point, field: parts[0] / parts[1],
    "power": lambda node, parts, point, field: field.power(parts[0], parts[1]),
    "degrees": lambda node, parts, point, field: parts[0] * field.mpc(field.pi) / 180,
    "absolute": lambda node, parts, point, field: field.mpc(abs(parts[0])),
    "root": _root,
    "function": _function,
    "binomial": _choose,
    "factorial": _factorial,
}
