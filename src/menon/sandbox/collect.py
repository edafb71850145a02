"""Calls the tests that a module of tests defines, as pytest and unittest would."""

import inspect
import itertools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from menon.sandbox.assertions import Tally
from menon.sandbox.pytest_names import Fixture, Mark, Parameters, Skipped, Unusable, marks_of

FILE = "test"
"""The file name that the code of tests is compiled with."""


def call_tests(space: Mapping[str, Any], tally: Tally) -> None:
    """Calls the test functions and classes of a module, those too that it has called itself: it may have
    swallowed their failures. Raises what the first that fails raises. Unusable: one of them, which the others
    do not call, takes an argument that there is no fixture for.

    `space`: the names of the module after it ran.
    """
    own = [value for value in space.values() if defined_here(value)]
    tests = [f for f in own if isinstance(f, types.FunctionType) and f.__name__.startswith("test")]
    # A helper named test_... that others call is asked last: by then it has run.
    tests.sort(key=lambda test: missing(test, first_set(test), space) is not None)
    module = types.SimpleNamespace(**space)
    hook(space.get("setup_module"), module)
    for test in tests:
        called = inspect.unwrap(test).__code__ in tally.entered
        if called and missing(test, first_set(test), space) is not None:
            continue
        hook(space.get("setup_function"), test)
        call_test(test, space)
        hook(space.get("teardown_function"), test)
    for kind in own:
        if isinstance(kind, type) and is_unittest(kind):
            call_unittest(kind)
        elif isinstance(kind, type) and kind.__name__.startswith("Test"):
            call_class(kind, space)
    hook(space.get("teardown_module"), module)


def defined_here(value: Any) -> bool:
    if isinstance(value, types.FunctionType):
        return inspect.unwrap(value).__code__.co_filename == FILE
    return isinstance(value, type) and value.__module__ == "__main__"


def is_unittest(kind: type) -> bool:
    return any(base.__module__ == "unittest.case" for base in kind.__mro__)


def call_class(kind: type, space: Mapping[str, Any]) -> None:
    """Calls the methods `test...` of a class, each on an object of its own."""
    names = dict.fromkeys(name for base in reversed(kind.__mro__) for name in vars(base))
    tests = [name for name in names if name.startswith("test") and callable(getattr(kind, name))]
    fixtures = {name: value for name, value in vars(kind).items() if isinstance(value, Fixture)}
    hook(getattr(kind, "setup_class", None) if tests else None, kind)
    for name in tests:
        instance = kind()
        test = getattr(instance, name)
        hook(getattr(instance, "setup_method", None), test)
        call_test(test, {**space, **fixtures}, instance)
        hook(getattr(instance, "teardown_method", None), test)


def call_unittest(kind: type) -> None:
    """Runs a TestCase with its fixtures, subtests, skipped tests and expected failures."""
    import unittest

    class Result(unittest.TestResult):
        first: BaseException | None = None

        def addError(self, test: Any, err: Any) -> None:
            self.first = self.first or err[1]

        addFailure = addError

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            if err is not None:
                self.addError(test, err)

        def addUnexpectedSuccess(self, test: Any) -> None:
            self.first = self.first or AssertionError("a failure was expected")

    result = Result()
    loaded = unittest.defaultTestLoader.loadTestsFromTestCase(kind)
    loaded.run(result)
    if result.first is not None:
        raise result.first


def call_test(test: Callable[..., Any], space: Mapping[str, Any], instance: Any = None) -> None:
    """Calls one test, once for each set of its parameters."""
    marks = [*marks_of(type(instance)), *marks_of(getattr(test, "__func__", test))]
    if any(mark.name == "skip" or (mark.name == "skipif" and any(mark.arguments[:1])) for mark in marks):
        return
    for given in parameter_sets(marks):
        name = missing(test, given, space)
        if name is not None:
            raise Unusable(f"{test.__name__} takes {name!r}, which is no fixture that is known here")
        try:
            with_fixtures(test, given, space, instance)
        except Skipped:
            continue
        except Exception:
            if not any(mark.name == "xfail" for mark in marks):
                raise


def parameter_sets(marks: list[Mark]) -> Iterator[dict[str, Any]]:
    """The arguments of each call: every combination of the parametrize marks of a test."""
    every = []
    for mark in marks:
        if mark.name != "parametrize":
            continue
        given = dict(zip(("argnames", "argvalues"), mark.arguments, strict=False)) | mark.named
        names, rows = given["argnames"], given["argvalues"]
        names = [n.strip() for n in names.split(",") if n.strip()] if isinstance(names, str) else list(names)
        sets = []
        for row in rows:
            if isinstance(row, Parameters) and any(one.name.startswith("skip") for one in row.marks):
                continue
            values = row.values if isinstance(row, Parameters) else (row if len(names) > 1 else (row,))
            sets.append(dict(zip(names, values, strict=True)))
        every.append(sets)
    for combination in itertools.product(*every):
        yield {name: value for one in combination for name, value in one.items()}


def first_set(test: Callable[..., Any]) -> dict[str, Any]:
    return next(parameter_sets(marks_of(test)), {})


def with_fixtures(
    test: Callable[..., Any], given: Mapping[str, Any], space: Mapping[str, Any], instance: Any
) -> None:
    """Calls a test with its parameters and what its fixtures give, and ends the fixtures afterwards."""
    opened: list[Iterator[Any]] = []
    values = dict(given)

    def value(name: str) -> Any:
        if name not in values:
            values[name] = start(fixture_named(name, space)) if name != "candidate" else space[name]
        return values[name]

    def start(fixture: Fixture) -> Any:
        first = (instance,) if inspect.signature(fixture.function).parameters.keys() & {"self"} else ()
        made = fixture.function(*first, **{n: value(n) for n in required(fixture.function) if n != "self"})
        if not inspect.isgenerator(made):
            return made
        opened.append(made)
        return next(made)

    for one in space.values():
        if isinstance(one, Fixture) and one.autouse:
            value(one.name)
    try:
        test(**{name: value(name) for name in dict.fromkeys((*required(test), *given))})
    finally:
        for fixture in reversed(opened):
            next(fixture, None)


def required(function: Callable[..., Any]) -> list[str]:
    """The parameters of a function that have no default."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind in kinds]


def missing(test: Callable[..., Any], given: Mapping[str, Any], space: Mapping[str, Any]) -> str | None:
    """The first parameter of a test that has neither a value nor a fixture."""
    fixtures = {value.name for value in space.values() if isinstance(value, Fixture)}
    known = given.keys() | fixtures | (space.keys() & {"candidate"})
    return next((name for name in required(test) if name not in known), None)


def fixture_named(name: str, space: Mapping[str, Any]) -> Fixture:
    for value in space.values():
        if isinstance(value, Fixture) and value.name == name:
            return value
    raise Unusable(f"there is no fixture {name!r} here")


def hook(function: Callable[..., Any] | None, *arguments: Any) -> None:
    """Calls a function such as setup_method, if there is one, with as many arguments as it takes."""
    if function is not None:
        function(*arguments[: len(required(function))])
