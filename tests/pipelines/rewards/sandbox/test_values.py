from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from pipelines.rewards.sandbox.values import NotPlain, Opaque, dumps, loads

Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -1, 2**63, -(10**400), 1.5, float("inf"), "a\ud800\0", b"\xff", bytearray(b"a"),
        1 + 2j, [], [1, [2]], (), (1, (2,)), {1, 2}, frozenset({1}), {}, {(1, 2): [3]}, {1: {2: 3}},
        Fraction(1, 3), Decimal("0.10"), range(1, 9, 2), deque([1]), int, str, Counter("aab"),
        OrderedDict(a=1), defaultdict(int, a=1), Point(1, 2),
    ],
)  # fmt: skip
def test_a_plain_value_decodes_to_an_equal_one(value: Any) -> None:
    assert loads(dumps(value)) == value


@pytest.mark.parametrize("value", [True, 1, 1.0, (1,), [1], {1}, frozenset({1})])
def test_a_value_keeps_its_type(value: Any) -> None:
    assert type(loads(dumps(value))) is type(value)


def test_an_iterator_stays_an_iterator() -> None:
    back = loads(dumps(x * x for x in range(3)))
    assert back != [0, 1, 4]
    assert list(back) == [0, 1, 4]


def test_other_objects_equal_nothing() -> None:
    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

    back = loads(dumps([Equal(), print]))
    assert all(isinstance(item, Opaque) for item in back)
    assert back[0] != 1
    assert back[0] != back[1]


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\xff", b"nothing", b'{"unknown": 1}', b'{"set": [[]]}', b'{"int": "z"}', b"{}",
        b'{"range": [1, 2, 0]}', b'{"type": "open"}', b'{"decimal": "x"}', b'{"a": 1, "b": 2}',
        b"[" * 100_000, b'{"dict": [[1]]}', b'{"fraction": "1/0"}',
    ],
)  # fmt: skip
def test_text_that_encodes_no_value_is_refused(text: bytes) -> None:
    with pytest.raises(NotPlain):
        loads(text)
