"""Reads the tests of a row's columns, in the formats of the public data sets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from menon.types import TEST_COLUMNS


@dataclass(frozen=True)
class InputOutput:
    """A script is run with `input` on its stdin and must print `output`."""

    input: str
    output: str


@dataclass(frozen=True)
class Check:
    """`code` (asserts) is run against the solution's functions, and must not raise."""

    code: str


@dataclass(frozen=True)
class Suite:
    cases: tuple[InputOutput | Check, ...]
    entry: str = ""
    """The function that is asked for, where the row names it."""


class BadTests(ValueError):
    """A row's tests cannot be read; the message says why."""


def suite_of(columns: Mapping[str, Any]) -> Suite:
    """The tests of a row. BadTests if it has none, or none that can be read.

    `tests`: a list of {input, output} or of code, or one piece of code. `test` with `entry_point`: HumanEval.
    `test_list` with `test_setup_code`, or `tests` with `setup`: MBPP. `input_output`: APPS, an object or its
    JSON, with `inputs`, `outputs` and perhaps `fn_name`. `public_tests`, `private_tests`, `generated_tests`:
    CodeContests, each {input: [...], output: [...]}.
    """
    given = {name: columns[name] for name in TEST_COLUMNS if columns.get(name)}
    if not given:
        raise BadTests(f"the row has no tests; it needs one of {', '.join(TEST_COLUMNS)}")
    entry = str(columns.get("entry_point") or "")
    setup = str(columns.get("setup") or columns.get("test_setup_code") or "")
    if "test" in given:
        return Suite((_human_eval(given["test"], entry),), entry)
    if "input_output" in given:
        return _apps(_parsed(given["input_output"]))
    if "tests" in given or "test_list" in given:
        every = _parsed(given.get("tests", given.get("test_list")))
        every = every if isinstance(every, list) else [every]
        return Suite(tuple(_one(test, setup) for test in every), entry)
    return Suite(
        tuple(case for name in TEST_COLUMNS if name in given for case in _pairs(_parsed(given[name]), name)),
        entry,
    )


def _human_eval(code: Any, entry: str) -> Check:
    if not isinstance(code, str) or not entry:
        raise BadTests("'test' must be code and needs 'entry_point' beside it, the name of the function")
    return Check(
        f"{code}\n\ncheck({entry})\n" if "def check(" in code and f"\ncheck({entry})" not in code else code
    )


def _one(test: Any, setup: str) -> InputOutput | Check:
    test = _parsed(test) if isinstance(test, str) and test.lstrip().startswith('{"') else test
    if isinstance(test, str):
        return Check(f"{setup}\n{test}" if setup else test)
    if isinstance(test, Mapping) and "input" in test and "output" in test:
        return InputOutput(_text(test["input"]), _text(test["output"]))
    raise BadTests("a test is neither code nor an object with 'input' and 'output'")


def _pairs(columns: Any, name: str) -> list[InputOutput]:
    if not isinstance(columns, Mapping) or not all(
        isinstance(columns.get(key), list) for key in ("input", "output")
    ):
        raise BadTests(f"'{name}' must be an object with the lists 'input' and 'output'")
    if len(columns["input"]) != len(columns["output"]):
        raise BadTests(f"'{name}' has {len(columns['input'])} inputs and {len(columns['output'])} outputs")
    return [
        InputOutput(_text(given), _text(wanted))
        for given, wanted in zip(columns["input"], columns["output"], strict=True)
    ]


def _apps(columns: Any) -> Suite:
    """Scripts, or with `fn_name` calls of a function, or of a method of `Solution`, with the arguments in
    each input."""
    if not isinstance(columns, Mapping) or not all(
        isinstance(columns.get(key), list) for key in ("inputs", "outputs")
    ):
        raise BadTests("'input_output' must be an object with the lists 'inputs' and 'outputs'")
    pairs = {"input": columns["inputs"], "output": columns["outputs"]}
    name = columns.get("fn_name")
    if not name:
        return Suite(tuple(_pairs(pairs, "input_output")))
    if not str(name).isidentifier():
        raise BadTests(f"'fn_name' is {name!r}, which is no name of a function")
    calls = [
        _call(str(name), given, wanted)
        for given, wanted in zip(pairs["input"], pairs["output"], strict=False)
    ]
    if len(calls) != len(pairs["input"]) or len(calls) != len(pairs["output"]):
        raise BadTests(f"'input_output' has {len(pairs['input'])} inputs and {len(pairs['output'])} outputs")
    return Suite(tuple(calls), str(name))


def _call(name: str, given: Any, wanted: Any) -> Check:
    """A test that calls a function with the input's arguments. JSON has no tuples, so a tuple equals a list;
    the expected result may be wrapped in a list (APPS)."""
    arguments = [_parsed(line) for line in given.split("\n")] if isinstance(given, str) else given
    if not isinstance(arguments, list):
        raise BadTests(f"an input of '{name}' is no list of arguments")
    wanted = _parsed(wanted) if isinstance(wanted, str) and isinstance(given, str) else wanted
    return Check(
        f"{SAME}\n_result = {name}(*{arguments!r})\nassert _same(_result, {wanted!r}) or _same([_result], "
        f"{wanted!r})\n"
    )


SAME = """
def _same(value, wanted):
    if isinstance(value, (list, tuple)) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    if isinstance(value, dict) and isinstance(wanted, dict):
        value = {str(key): item for key, item in value.items()}
        return value.keys() == wanted.keys() and all(_same(value[key], wanted[key]) for key in wanted)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, (int, float)) and isinstance(wanted, float):
        return abs(value - wanted) <= 1e-6 * max(1, abs(wanted)) or value == wanted
    return value == wanted
"""
"""Part of each call's test: the comparison, with floats within 1e-6."""


def _parsed(value: Any) -> Any:
    """The value of JSON in a string; any other value is returned as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _text(value: Any) -> str:
    """APPS writes some inputs and outputs as lists of lines."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(map(str, value))
    return str(value)
