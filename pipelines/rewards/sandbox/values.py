"""Plain values as JSON text, exchanged between a program and its tests.

The tests' side reads what an untrusted program wrote, so reading runs no code and makes only values
of Python's own types, whose `==` a program cannot replace. An object of any other class becomes an
`Opaque`, which equals nothing.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from types import GeneratorType
from typing import Any

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_SMALL = 2**63
_TYPES = {
    kind.__name__: kind
    for kind in (int, str, float, bool, complex, list, tuple, dict, set, frozenset, bytes, object)
}
_MAX_ITEMS = 1_000_000


class NotPlain(ValueError):
    """The text does not encode a value, or the value cannot be encoded."""


class Opaque:
    """Takes the place of an object whose value was not sent."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


def dumps(value: object) -> bytes:
    """Encode a value as text.

    Raises:
        NotPlain: it is nested too deeply.
    """
    try:
        return json.dumps(_encode(value)).encode()
    except RecursionError:
        raise NotPlain("nested too deeply") from None


def loads(text: bytes) -> Any:
    """Decode a value from text.

    Raises:
        NotPlain: `dumps` does not write such text.
    """
    try:
        return _decode(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError, ArithmeticError) as error:
        raise NotPlain(f"{type(error).__name__}: {error}"[:200]) from None


def _encode(value: object) -> Json:
    # Subclasses (Counter, namedtuple, IntEnum, ...) equal their plain value, so they are sent as it.
    if value is None or isinstance(value, bool):
        return value
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    for name, kind in _TYPES.items():
        if value is kind:
            return {"type": name}
    return {"opaque": type(value).__name__}


def _integer(value: int) -> Json:
    return int(value) if -_SMALL < value < _SMALL else {"int": hex(value)}


def _items(name: str) -> Callable[[Any], Json]:
    return lambda value: {name: [_encode(item) for item in value]}


def _drawn(value: Iterator[object]) -> Json:
    return {"iterator": [_encode(item) for item in islice(value, _MAX_ITEMS)]}


_WRITERS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Json]], ...] = (
    (int, _integer),
    (float, float),
    (str, str),
    (list, lambda value: [_encode(item) for item in value]),
    (tuple, _items("tuple")),
    (set, _items("set")),
    (frozenset, _items("frozenset")),
    (dict, lambda value: {"dict": [[_encode(k), _encode(v)] for k, v in value.items()]}),
    (type({}.keys()), _items("set")),
    (complex, lambda value: {"complex": [value.real, value.imag]}),
    (bytearray, lambda value: {"bytearray": value.hex()}),
    (bytes, lambda value: {"bytes": value.hex()}),
    (Fraction, lambda value: {"fraction": str(value)}),
    (Decimal, lambda value: {"decimal": str(value)}),
    (range, lambda value: {"range": [value.start, value.stop, value.step]}),
    (deque, _items("deque")),
    ((GeneratorType, map, filter, zip, enumerate, reversed), _drawn),
)


def _decode(tree: object) -> Any:
    if isinstance(tree, list):
        return [_decode(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) != 1:
        raise ValueError("a tagged value must have one tag")
    ((tag, content),) = tree.items()
    return _READERS[tag](content)


def _decoded(make: Callable[[list[Any]], object]) -> Callable[[Any], object]:
    return lambda content: make([_decode(item) for item in content])


_READERS: dict[str, Callable[[Any], object]] = {
    "int": lambda content: int(content, 16),
    "tuple": _decoded(tuple),
    "set": _decoded(set),
    "frozenset": _decoded(frozenset),
    "dict": lambda content: {_decode(key): _decode(value) for key, value in content},
    "complex": lambda content: complex(*map(float, content)),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "fraction": Fraction,
    "decimal": Decimal,
    "range": lambda content: range(*content),
    "deque": _decoded(deque),
    "iterator": _decoded(iter),
    "type": lambda content: _TYPES[content],
    "opaque": lambda content: Opaque(str(content)[:100]),
}
