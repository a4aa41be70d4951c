"""Plain values as JSON text, between a program and those who check it.

The checking side reads what an untrusted program wrote, so nothing here runs code, and what it
reads is built of Python's own types: their `==` cannot be replaced. An object of any other class
becomes an `Opaque`, which equals nothing.
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

_SMALL = 2**63
_TYPES = {
    kind.__name__: kind
    for kind in (int, str, float, bool, complex, list, tuple, dict, set, frozenset, bytes, object)
}
_MAX_ITEMS = 1_000_000


class NotPlain(ValueError):
    """Text is not a value, or a value has no text."""


class Opaque:
    """Stands for an object that was not sent."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


def dumps(value: object) -> bytes:
    """A value as text.

    Raises:
        NotPlain: it is nested too deep.
    """
    try:
        return json.dumps(_encode(value)).encode()
    except RecursionError:
        raise NotPlain("nested too deep") from None


def loads(text: bytes) -> Any:
    """A value from text.

    Raises:
        NotPlain: it is not what `dumps` writes.
    """
    try:
        return _decode(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError, ArithmeticError) as error:
        raise NotPlain(f"{type(error).__name__}: {error}"[:200]) from None


def _encode(value: Any) -> Any:
    # Subclasses (Counter, namedtuple, IntEnum, ...) equal their plain value, so they become it.
    if value is None or isinstance(value, bool):
        return value
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    for name, kind in _TYPES.items():
        if value is kind:
            return {"type": name}
    return {"opaque": type(value).__name__}


def _integer(value: int) -> Any:
    return int(value) if -_SMALL < value < _SMALL else {"int": hex(value)}


def _items(name: str) -> Callable[[Any], Any]:
    return lambda value: {name: [_encode(item) for item in value]}


def _drawn(value: Iterator[Any]) -> Any:
    return {"iterator": [_encode(item) for item in islice(value, _MAX_ITEMS)]}


_WRITERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
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


def _decode(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_decode(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) != 1:
        raise ValueError("a tagged value has one tag")
    ((tag, content),) = tree.items()
    return _READERS[tag](content)


def _decoded(make: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    return lambda content: make([_decode(item) for item in content])


_READERS: dict[str, Callable[[Any], Any]] = {
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
