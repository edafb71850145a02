import math
import os
from collections import Counter, OrderedDict, namedtuple
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from menon.sandbox.wire import Closed, Line, Malformed, decode, encode


def refuse(value):
    raise TypeError(value)


def unknown(kind, content):
    raise Malformed(kind)


def there_and_back(value):
    import json

    return decode(json.loads(json.dumps(encode(value, refuse))), unknown)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        10**5000,
        1.5,
        -0.0,
        math.inf,
        "a\n\ud800é",
        [],
        [1, [2.0, (3, "x")]],
        {"a": 1, (1, 2): {3, 4}},
        {1: {"set": [1]}},
        {"int": "0x3"},
        frozenset({1}),
        b"\x00\xff",
        bytearray(b"ab"),
        1 + 2j,
        range(1, 9, 2),
        Decimal("1.10"),
        Fraction(1, 3),
        datetime(2024, 1, 2, 3),
        date(2024, 1, 2),
        timedelta(3, 4, 5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_data_comes_back_equal_and_of_its_type(value):
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


def test_subclasses_are_reduced_to_their_base():
    class Lying(int):
        def __eq__(self, other):
            return True

        __hash__ = None

        def __add__(self, other):
            return 3

    point = namedtuple("point", "x y")
    assert type(there_and_back(Lying(7))) is int
    assert there_and_back(Lying(7)) == 7
    assert there_and_back(Lying(7)) != 3
    assert there_and_back(point(1, 2)) == (1, 2)
    assert there_and_back(Counter("aab")) == {"a": 2, "b": 1}
    assert type(there_and_back(OrderedDict(a=1))) is dict


def test_what_is_nested_without_end_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested more than 200"):
        encode(endless, refuse)


@pytest.mark.parametrize(
    "rubbish",
    [
        {},
        {"a": 1, "b": 2},
        {"set": [[]]},
        {"dict": [[{"dict": []}, 1]]},
        {"int": 3},
        {"bytes": "zz"},
        {"thing": 0},
        {"Decimal": "x"},
    ],
)
def test_rubbish_is_malformed(rubbish):
    with pytest.raises(Malformed):
        decode(rubbish, unknown)


def conversation(data: bytes, longest: int = 100) -> Line:
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return Line(read, longest)


def test_lines_come_one_by_one():
    line = conversation(b'{"a": 1}\n{"b": 2}\n')
    assert (line.receive(), line.receive()) == ({"a": 1}, {"b": 2})
    with pytest.raises(Closed):
        line.receive()


@pytest.mark.parametrize("data", [b"", b'{"a": 1}', b"x" * 101])
def test_too_little_or_too_much_ends_it(data):
    with pytest.raises(Closed):
        conversation(data).receive()


@pytest.mark.parametrize("data", [b"[1]\n", b"nothing\n", b"[" * 99999 + b"\n", b"9" * 9999 + b"\n"])
def test_what_is_no_object_is_malformed(data):
    line = Line(-1, 1 << 20)
    line.pending = data
    with pytest.raises(Malformed):
        line.receive()
