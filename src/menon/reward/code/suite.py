"""The tests of a program, and how single values of a row become tests."""

import ast
import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from menon.sandbox.names import free_names, read_code

LONGEST = 256 << 20
"""Bytes of packed tests."""


@dataclass(frozen=True)
class InputOutput:
    """A script is run with `input` on its stdin and must print `output`."""

    input: str
    output: str


@dataclass(frozen=True)
class Check:
    """`code` is run against the solution's functions, and its test functions and classes are called; it must
    not raise, and must assert something."""

    code: str


@dataclass(frozen=True)
class Suite:
    cases: tuple[InputOutput | Check, ...]
    entry: str = ""
    """The function that is asked for, where the row names it."""

    def names(self) -> frozenset[str]:
        """The names that the tests ask for: the entry point, else what the first test uses and does not
        define."""
        if self.entry or not self.cases or isinstance(self.cases[0], InputOutput):
            return frozenset({self.entry} - {""})
        code = self.cases[0].code
        tree = read_code(ast.parse, code)
        nodes = ast.walk(tree) if tree is not None else ()
        imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        return frozenset(imported | (read_code(free_names, code) or set()))


class BadTests(ValueError):
    """A row's tests cannot be read; the message says why."""


def call(name: str, given: Any, wanted: Any, wrapped: bool) -> Check:
    """A test that calls a function with the input's arguments: a list of them, or a text with one a line.
    JSON has no tuples, so a tuple equals a list. `wrapped`: the expected result may be in a list (APPS)."""
    if isinstance(given, str):
        arguments = [literal(line) for line in given.split("\n") if line.strip()]
        wanted = literal(wanted) if isinstance(wanted, str) else wanted
    elif isinstance(given, Sequence):
        arguments = list(given)
    else:
        raise BadTests(f"an input of '{name}' is no list of arguments")
    also = f" or _same([_result], {wanted!r})" if wrapped else ""
    return Check(f"{SAME}\n_result = {name}(*{arguments!r})\nassert _same(_result, {wanted!r}){also}\n")


SAME = """
inf, nan = float("inf"), float("nan")
def _same(value, wanted):
    if isinstance(value, (list, tuple)) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    if isinstance(value, dict) and isinstance(wanted, dict):
        value = {str(key): item for key, item in value.items()}
        return value.keys() == wanted.keys() and all(_same(value[key], wanted[key]) for key in wanted)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if value == wanted:
        return True
    if not isinstance(value, (int, float)) or not isinstance(wanted, float):
        return False
    if not abs(wanted) < float("inf") or not abs(value) <= 2 * max(1, abs(wanted)):
        return False
    return abs(value - wanted) <= 1e-6 * max(1, abs(wanted))
"""
"""Part of each call's test: the names that `repr` gives to what is no number, and the comparison, with
finite floats within 1e-6."""


def parsed(value: Any) -> Any:
    """The value of JSON in a string; any other value is returned as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def literal(line: str) -> Any:
    """The value of a line in JSON or Python; any other text is itself."""
    value = parsed(line)
    if value is not line:
        return value
    value = read_code(ast.literal_eval, line.strip())
    return line if value is None and line.strip() != "None" else value


def text(value: Any) -> str:
    """The text of an input or output; APPS writes some as lists of lines."""
    if value is None:
        raise BadTests("a test's input or output is null; give it a text")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(map(str, value))
    return str(value)


class _TextOnly(pickle.Unpickler):
    """Reads plain values; refuses every class and function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")


def unpacked(value: str, column: str) -> Any:
    """LiveCodeBench's private tests: text that was pickled, compressed and written in base 64."""
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(value, validate=True), LONGEST)
        return _TextOnly(io.BytesIO(data)).load()
    except (
        binascii.Error,
        zlib.error,
        pickle.UnpicklingError,
        EOFError,
        LookupError,
        ValueError,
        TypeError,
    ) as error:
        raise BadTests(f"'{column}' is neither JSON nor packed tests ({error})") from None
