"""Plain data between the process of the tests and the process of model code, as lines of JSON.

Nothing is ever unpickled, and nothing that arrives is called. Values of model code are reduced to these
types, subclasses to their base class, and any other object to a number by which the other side may refer to
it (`remote.Thing`).
"""

import json
import os
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

DEEPEST = 200
LONG_INT = 64
"""Bits above which a whole number travels in base 16, which takes linear time."""

Refer = Callable[[Any], dict[str, Any]]
"""Value that is no plain data -> what is written for it."""
Resolve = Callable[[str, Any], Any]
"""(kind, content) of such a value -> what is read."""


class Malformed(BaseException):
    """A message that is no plain data has arrived. It does not derive from Exception, so that a test cannot
    swallow it."""


class Unsendable(BaseException):
    """A test passes something to model code that is no plain data: the test's fault."""


class Closed(BaseException):
    """The other process has ended, or its message is too long."""


ENDED = "the program ended before it answered"
ENCODE = json.JSONEncoder(check_circular=False).encode
"""Messages are made of what `encode` gives, which holds no circles."""


def encode(value: Any, refer: Refer, depth: int = 0) -> Any:
    """A value as JSON. Types are compared by identity or base class, so that no method of a value decides how
    it is read."""
    if depth > DEEPEST:
        raise ValueError(f"the value is nested more than {DEEPEST} deep")
    if value is None or value is True or value is False:
        return value
    kind = type(value)

    def inner(items: Any) -> list[Any]:
        return [encode(item, refer, depth + 1) for item in items]

    if issubclass(kind, int):
        number = int.__add__(value, 0)
        return number if number.bit_length() <= LONG_INT else {"int": hex(number)}
    if issubclass(kind, float):
        return float.__add__(value, 0.0)
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, list):
        return inner(list.__iter__(value))
    if issubclass(kind, tuple):
        return {"tuple": inner(tuple.__iter__(value))}
    if issubclass(kind, dict):
        return {"dict": [inner(pair) for pair in dict.items(value)]}
    if issubclass(kind, set | frozenset):
        return {"frozenset" if issubclass(kind, frozenset) else "set": inner(value)}
    if issubclass(kind, bytes | bytearray):
        return {"bytearray" if issubclass(kind, bytearray) else "bytes": bytes(value).hex()}
    if kind in SPELT:
        return {kind.__name__: SPELT[kind](value)}
    if kind.__module__ == "numpy" and hasattr(kind, "tolist"):
        return encode(value.tolist(), refer, depth + 1)
    return refer(value)


SPELT: dict[type, Callable[[Any], Any]] = {
    complex: lambda value: [value.real, value.imag],
    range: lambda value: [value.start, value.stop, value.step],
    Decimal: str,
    Fraction: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
}

READ: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda parts: complex(*parts),
    "range": lambda parts: range(*parts),
    "Decimal": Decimal,
    "Fraction": Fraction,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
}


def decode(value: Any, resolve: Resolve) -> Any:
    """Malformed if it is not what `encode` writes."""
    if isinstance(value, list):
        return [decode(item, resolve) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise Malformed("an object has one kind")
    ((kind, content),) = value.items()
    try:
        if kind == "dict":
            return {decode(key, resolve): decode(item, resolve) for key, item in content}
        if kind in ("tuple", "set", "frozenset"):
            return READ[kind](decode(item, resolve) for item in content)
        return READ[kind](content) if kind in READ else resolve(kind, content)
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise Malformed(f"{kind} holds something else") from error


class Line:
    """One end of a conversation in lines of JSON, at most `longest` bytes each. `roots`: a directory of this
    side and the one that has its place on the other; paths below them are named as the reader knows them."""

    def __init__(self, descriptor: int, longest: int, roots: tuple[str, str] | None = None) -> None:
        self.descriptor = descriptor
        self.longest = longest
        self.here, self.there = (json.dumps(root)[1:-1].encode() for root in roots or ("", ""))
        self.pending = b""

    def send(self, message: Mapping[str, Any]) -> None:
        data = ENCODE(message).encode() + b"\n"
        if self.here:
            data = data.replace(self.here, self.there)
        try:
            while data:
                data = data[os.write(self.descriptor, data) :]
        except OSError:
            raise Closed(ENDED) from None

    def receive(self) -> dict[str, Any]:
        line, newline, self.pending = self.pending.partition(b"\n")
        pieces, size = [line], len(line)
        while not newline:
            try:
                piece = os.read(self.descriptor, 1 << 16)
            except OSError:
                raise Closed(ENDED) from None
            size += len(piece)
            if not piece or size > self.longest:
                raise Closed(ENDED if not piece else "a message is too long")
            piece, newline, self.pending = piece.partition(b"\n")
            pieces.append(piece)
        line = b"".join(pieces)
        if self.here:
            line = line.replace(self.there, self.here)
        try:
            message = json.loads(line.decode("ascii"))
        except (ValueError, RecursionError) as error:
            raise Malformed("no JSON") from error
        if not isinstance(message, dict):
            raise Malformed("no object")
        return message
