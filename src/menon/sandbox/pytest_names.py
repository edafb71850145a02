"""The part of pytest that tests of functions use, under its names; the real one need not be installed, and it
reads files, which the process of the tests has none of."""

import math
import re
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from menon.sandbox.wire import Closed, Malformed, Unsendable


class Unusable(BaseException):
    """A test cannot be run as it is: the test's fault. Not an Exception, so that a test cannot swallow it."""


class Skipped(Exception):
    """A test leaves itself out."""


class Approx:
    """Equal to numbers within a tolerance, also in lists, tuples and dicts."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, expected: Any, rel: float | None = None, abs: float | None = None, nan_ok: bool = False
    ):
        self.expected, self.nan_ok = expected, nan_ok
        self.absolute = abs if abs is not None else 1e-12
        self.relative = rel if rel is not None else (0.0 if abs is not None else 1e-6)

    def __eq__(self, actual: object) -> bool:
        return self.near(actual, self.expected)

    def near(self, actual: Any, expected: Any) -> bool:
        if isinstance(expected, dict):
            same = isinstance(actual, dict) and actual.keys() == expected.keys()
            return same and all(self.near(actual[key], expected[key]) for key in expected)
        if hasattr(expected, "tolist"):
            expected = expected.tolist()
        if isinstance(expected, list | tuple):
            same = isinstance(actual, list | tuple) and len(actual) == len(expected)
            return same and all(map(self.near, actual, expected))
        number = isinstance(actual, int | float | complex) and not isinstance(actual, bool)
        if isinstance(expected, bool) or not isinstance(expected, int | float | complex) or not number:
            return bool(actual == expected)
        if actual == expected:
            return True
        if math.isnan(abs(expected)) or math.isinf(abs(expected)):
            return self.nan_ok and actual != actual and expected != expected
        return abs(actual - expected) <= max(self.absolute, self.relative * abs(expected))


@dataclass
class Raises:
    """A block, or a call, that must raise."""

    expected: Any
    match: str | None = None
    value: BaseException | None = None

    @property
    def type(self) -> Any:
        return type(self.value)

    def __enter__(self) -> "Raises":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None:
            raise AssertionError(f"did not raise {self.expected}")
        if isinstance(error, Closed | Malformed | Unsendable | Unusable):
            return False
        if not isinstance(error, self.expected):
            return False
        if self.match is not None and re.search(self.match, str(error)) is None:
            raise AssertionError(f"{str(error)[:100]!r} does not match {self.match!r}")
        self.value = error
        return True


@dataclass
class Fixture:
    """A function whose result tests ask for by its name."""

    function: Callable[..., Any]
    name: str
    autouse: bool = False


@dataclass
class Parameters:
    """One set of arguments of a parametrised test."""

    values: Sequence[Any]
    marks: Sequence[Any] = field(default_factory=tuple)


@dataclass
class Mark:
    name: str
    arguments: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if len(arguments) == 1 and not named and isinstance(arguments[0], types.FunctionType | type):
            marked = arguments[0]
            marked.pytestmark = [*marked.__dict__.get("pytestmark", ()), self]  # type: ignore[union-attr]
            return marked
        return Mark(self.name, arguments, named)


class Marks:
    def __getattr__(self, name: str) -> Mark:
        return Mark(name)


def raises(expected: Any, *call: Any, match: str | None = None, **named: Any) -> Raises:
    block = Raises(expected, match)
    if call:
        with block:
            call[0](*call[1:], **named)
    return block


def fixture(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    if options.get("params") is not None:
        raise Unusable("it has a fixture with params, which are not read; use pytest.mark.parametrize")

    def made(function: Callable[..., Any]) -> Fixture:
        return Fixture(function, options.get("name") or function.__name__, bool(options.get("autouse")))

    return made if function is None else made(function)


def param(*values: Any, id: Any = None, marks: Any = ()) -> Parameters:
    return Parameters(values, marks if isinstance(marks, list | tuple) else (marks,))


def fail(reason: str = "", pytrace: bool = True) -> None:
    raise AssertionError(reason)


def skip(reason: str = "", **options: Any) -> None:
    raise Skipped(reason)


def main(*arguments: Any, **named: Any) -> int:
    return 0  # the tests are called afterwards


def _unknown(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise Unusable(f"it uses pytest.{name}, which is not known here")


def marks_of(thing: Any) -> list[Mark]:
    given = thing.__dict__.get("pytestmark", ()) if hasattr(thing, "__dict__") else ()
    return list(given) if isinstance(given, Iterable) else [given]


def module() -> types.ModuleType:
    """The module `pytest` of the tests' process."""
    names = types.ModuleType("pytest")
    names.__dict__.update(
        raises=raises, fixture=fixture, param=param, fail=fail, skip=skip, main=main, approx=Approx,
        mark=Marks(), __getattr__=_unknown,
    )  # fmt: skip
    return names
