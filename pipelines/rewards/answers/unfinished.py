r"""Whether an expression is left to calculate: `15 + 3`, `(4-5i)(1+i)`, `3t - 6t`, `\tan 30^\circ`.

Such an answer equals the reference and yet answers nothing: it mostly repeats the question. It is
accepted where the reference is itself left to calculate (`\cos 58^\circ`). An expression that is
only in another form (`(x+1)(x-1)` for `x^2 - 1`, `\frac{1}{\sqrt 2}`) is finished: which form was
asked for cannot be told without the question.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from pipelines.rewards.answers.expressions import Node, Unread, walk
from pipelines.rewards.answers.values import evaluate

MAX_TERMS = 12
_TOLERANCE = 1e-9
_CONSTANTS = {"pi", "e", "i"}


def is_plain(node: Node) -> bool:
    """Whether it is a number or one operation on numbers: a fraction, a power, a root, `5!`."""
    if node.kind == "negative":
        return is_plain(node.parts[0])
    if node.kind == "number":
        return True
    if node.kind == "quotient":
        return _is_literal(node)
    one_step = node.kind in ("power", "root", "factorial")
    return one_step and all(_is_literal(part) for part in node.parts)


def is_unfinished(node: Node) -> bool:
    """Whether something in the expression is left to calculate."""
    return walk(node, _is_left_to_do)


def _is_left_to_do(node: Node) -> bool:
    if node.kind in ("function", "binomial", "factorial", "absolute"):
        return _is_constant(node)
    if node.kind == "sum":
        return _has_brackets(node) or _has_like_terms(node)
    if node.kind == "product":
        return _has_like_factors(node)
    if node.kind == "quotient":
        return any(part.kind == "quotient" and not _is_literal(node) for part in node.parts)
    if node.kind == "power":
        base = node.parts[0].kind
        return base in ("power", "product") or (base == "sum" and _is_constant(node))
    return False


def _has_brackets(node: Node) -> bool:
    """Whether terms contain sums in brackets; one term may, as in `2(x+1)^2 + 3`."""
    if any(_unsigned(part).kind == "sum" for part in node.parts):
        return True
    containing = sum(
        any(_base(factor).kind == "sum" for factor in _factors(part)) for part in node.parts
    )
    return containing > (0 if _is_constant(node) else 1)


def _has_like_terms(node: Node) -> bool:
    """Whether two terms are a constant multiple of each other, as `3t` and `-6t` are."""
    if len(node.parts) > MAX_TERMS:
        return False
    try:
        values = [evaluate(part).fast for part in node.parts]
    except Unread:
        return False
    return any(_is_multiple(a, b) for a, b in combinations(values, 2))


def _is_multiple(a: tuple[complex, ...], b: tuple[complex, ...]) -> bool:
    if not all(a) or not all(b):
        return True  # a term that is zero
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    size = abs(ratios[0])
    if not all(abs(ratio - ratios[0]) <= _TOLERANCE * size for ratio in ratios):
        return False
    # Any two constants are multiples, but only some can be added: 2 and 3, the roots of 2 and 8.
    square = ratios[0] ** 2
    is_real = abs(ratios[0].imag) <= _TOLERANCE * size
    return is_real and _is_rational(ratios[0].real) and abs(square.imag) <= _TOLERANCE * abs(square)


def _is_rational(value: float) -> bool:
    return any(
        abs(value * bottom - round(value * bottom)) < 1e-9 * max(1.0, abs(value))
        for bottom in range(1, 61)
    )


def _has_like_factors(node: Node) -> bool:
    """Whether factors can be multiplied into one: `2 * 3x`, `t^3 t^4`, `(1+i)(2-i)`."""
    factors = list(_factors(node))
    numbers = sum(factor.kind == "number" for factor in factors)
    names = [base.name for base in map(_base, factors) if base.kind == "name"]
    sums = sum(_base(factor).kind == "sum" for factor in factors)
    return numbers > 1 or len(names) > len(set(names)) or (sums > 1 and _is_constant(node))


def _factors(node: Node) -> Iterator[Node]:
    if node.kind == "product":
        for part in node.parts:
            yield from _factors(part)
    elif node.kind == "negative":
        yield from _factors(node.parts[0])
    else:
        yield node


def _base(node: Node) -> Node:
    return node.parts[0] if node.kind == "power" else node


def _unsigned(node: Node) -> Node:
    return node.parts[0] if node.kind == "negative" else node


def _is_literal(node: Node) -> bool:
    """Whether it is a whole number, a decimal or a fraction of two of them."""
    node = _unsigned(node)
    if node.kind == "quotient":
        return all(_unsigned(part).kind == "number" for part in node.parts)
    return node.kind == "number"


def _is_constant(node: Node) -> bool:
    return not walk(node, lambda part: part.kind == "name" and part.name not in _CONSTANTS)
