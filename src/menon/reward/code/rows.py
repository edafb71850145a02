"""Reads the tests of a row's columns, in the formats of the public data sets."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from menon.reward.code.suite import BadTests, Check, InputOutput, Suite, call, parsed, text, unpacked
from menon.task_tests import TEST_COLUMNS, tests_of_ground_truth

SCRIPT_TYPES = ("stdin", "stdin_stdout", "stdio", "standard_input")
CALL_TYPES = ("functional", "function_call", "call_based")
"""What `testtype` or `type` of a test says in public data sets."""


def suite_of(columns: Mapping[str, Any]) -> Suite:
    """The tests of a row. BadTests if it has none, or none that can be read.

    `tests` or `test_cases`: a list of {input, output} (LiveCodeBench adds `testtype`) or of code, or one
    piece of code. `test` or `test_code`, code: HumanEval with `entry_point`, KodCode with `test_info`.
    `test_list` with `test_setup_code`, or `tests` with `setup`: MBPP. `input_output`: APPS, an object or its
    JSON, with `inputs`, `outputs` and perhaps `fn_name`. `public_test_cases`, `private_test_cases`:
    LiveCodeBench. `public_tests`, `private_tests`, `generated_tests`: CodeContests, each
    {input: [...], output: [...]}. `reward_model.ground_truth`: verl, any of these.
    """
    suite = _read(columns)
    if not suite.cases:
        raise BadTests("the row's tests are empty; give it at least one")
    if all(isinstance(case, InputOutput) and not case.output.strip() for case in suite.cases):
        raise BadTests("every test expects an empty output, so it asserts nothing")
    return suite


def _read(columns: Mapping[str, Any]) -> Suite:
    given = {name: columns[name] for name in TEST_COLUMNS if name in columns and _some(columns[name])}
    entry = entry_of(columns)
    for name in ("test", "test_code"):
        if name in given:
            return Suite((_functions(name, given[name], entry),), entry)
    if "input_output" in given:
        return _apps(parsed(given["input_output"]))
    setup = str(columns.get("setup") or columns.get("test_setup_code") or "")
    for name in ("tests", "test_cases", "test_list"):
        if name in given:
            return _listed(parsed(given[name]), columns, setup, entry)
    live = [name for name in ("public_test_cases", "private_test_cases") if name in given]
    if live:
        every = [test for name in live for test in _test_cases(given[name], name)]
        return _listed(every, columns, setup, entry)
    if given:
        return Suite(tuple(case for name in given for case in _pairs(parsed(given[name]), name)), entry)
    return _ground_truth(columns, entry)


def _some(value: Any) -> bool:
    return value is not None and (not hasattr(value, "__len__") or len(value) > 0)


def entry_of(columns: Mapping[str, Any]) -> str:
    """The function that a row asks for, from `entry_point` (of a class too: `Solution().total`), KodCode's
    `test_info`, or LiveCodeBench's `metadata`; nothing where no column says so."""
    info = parsed(columns.get("test_info"))
    info = [info] if isinstance(info, Mapping) else info
    named = [i.get("function_name") for i in info if isinstance(i, Mapping)] if isinstance(info, list) else []
    metadata = parsed(columns.get("metadata"))
    found = columns.get("entry_point") or (named[0] if len(named) == 1 else None)
    found = found or (metadata.get("func_name") if isinstance(metadata, Mapping) else None)
    name = re.sub(r"^Solution(?:\(\))?\.", "", str(found or "").strip())
    if name and not name.isidentifier():
        raise BadTests(f"'entry_point' is {name!r}, which is no name of a function")
    return name


def _functions(column: str, code: Any, entry: str) -> Check:
    if not isinstance(code, str):
        raise BadTests(f"'{column}' must be code")
    defined = re.search(r"^def check\(", code, re.MULTILINE)
    if defined is None or re.search(r"(?<!def )\bcheck\(", code):
        return Check(code)
    if re.search(r"^def check\(\s*\)", code, re.MULTILINE):
        return Check(f"{code}\n\ncheck()\n")
    if not entry:
        raise BadTests(f"'{column}' needs 'entry_point' beside it, the name of the function")
    return Check(f"{code}\n\ncheck({entry})\n")


def _listed(every: Any, columns: Mapping[str, Any], setup: str, entry: str) -> Suite:
    if isinstance(every, Mapping) and isinstance(every.get("inputs"), list):
        return _apps(every)
    if isinstance(every, Mapping) and isinstance(every.get("input"), list):
        return Suite(tuple(_pairs(every, "tests")), entry)
    every = every if isinstance(every, list) else [every]
    return Suite(tuple(_one(test, columns, setup, entry) for test in every), entry)


def _one(test: Any, columns: Mapping[str, Any], setup: str, entry: str) -> InputOutput | Check:
    test = parsed(test) if isinstance(test, str) and test.lstrip().startswith('{"') else test
    if isinstance(test, str):
        check = _functions("tests", test, entry)
        return Check(f"{setup}\n{check.code}") if setup else check
    if not isinstance(test, Mapping) or "input" not in test or "output" not in test:
        raise BadTests("a test is neither code nor an object with 'input' and 'output'")
    kind = test.get("testtype") or test.get("type") or ("functional" if test.get("fn_name") else "stdin")
    if kind in SCRIPT_TYPES:
        return InputOutput(text(test["input"]), text(test["output"]))
    if kind not in CALL_TYPES:
        raise BadTests(f"the 'testtype' of a test is {kind!r}; it is stdin or functional")
    return call(_function_of(test, columns, entry), test["input"], test["output"], wrapped=False)


def _function_of(test: Mapping[str, Any], columns: Mapping[str, Any], entry: str) -> str:
    """The function that a functional test calls, as the test, its row or the starter code names it."""
    metadata = parsed(test.get("metadata"))
    of_test = metadata.get("func_name") if isinstance(metadata, Mapping) else None
    name = test.get("fn_name") or of_test or entry
    if not name:
        starter = re.findall(r"^\s*def\s+(\w+)\s*\(", str(columns.get("starter_code") or ""), re.MULTILINE)
        names = [found for found in starter if not found.startswith("__")]
        if len(names) != 1:
            raise BadTests(
                "a test has the testtype functional, and no column names its function; give the row "
                "'metadata' with 'func_name', or 'entry_point'"
            )
        name = names[0]
    if not str(name).isidentifier():
        raise BadTests(f"'func_name' is {name!r}, which is no name of a function")
    return str(name)


def _test_cases(value: Any, name: str) -> list[Any]:
    """LiveCodeBench's lists of tests; the private ones may be packed."""
    every = parsed(value)
    every = parsed(unpacked(every, name)) if isinstance(every, str) else every
    if not isinstance(every, list):
        raise BadTests(f"'{name}' must be a list of tests, or its JSON")
    return every


def _ground_truth(columns: Mapping[str, Any], entry: str) -> Suite:
    """The tests of a row of verl."""
    model = columns.get("reward_model")
    value = tests_of_ground_truth(model.get("ground_truth")) if isinstance(model, Mapping) else None
    if value is None:
        names = ", ".join((*TEST_COLUMNS, "reward_model.ground_truth"))
        raise BadTests(f"the row has no tests; it needs one of {names}")
    if isinstance(value, list):
        return _listed(value, columns, "", entry)
    if value.get("inputs") is not None:
        return _apps(value)
    entry = entry_of(value) or entry
    if value.get("assert_case") is not None:
        return _listed(value["assert_case"], columns, "", entry)
    name = next(name for name in ("functional", "pytest", "test_code") if value.get(name) is not None)
    check = _functions(f"reward_model.ground_truth.{name}", value[name], entry)
    prefix = value.get("import_prefix")
    return Suite((Check(f"{prefix}\n{check.code}") if isinstance(prefix, str) else check,), entry)


def _pairs(columns: Any, name: str) -> list[InputOutput]:
    if not isinstance(columns, Mapping) or not all(
        isinstance(columns.get(key), list) for key in ("input", "output")
    ):
        raise BadTests(f"'{name}' must be an object with the lists 'input' and 'output'")
    return [
        InputOutput(text(given), text(wanted)) for given, wanted in _zipped(columns, "input", "output", name)
    ]


def _zipped(columns: Mapping[str, Any], inputs: str, outputs: str, name: str) -> list[tuple[Any, Any]]:
    given, wanted = columns[inputs], columns[outputs]
    if len(given) != len(wanted):
        raise BadTests(f"'{name}' has {len(given)} inputs and {len(wanted)} outputs")
    return list(zip(given, wanted, strict=True))


def _apps(columns: Any) -> Suite:
    """Scripts, or with `fn_name` calls of a function, or of a method of `Solution`, with the arguments in
    each input."""
    if not isinstance(columns, Mapping) or not all(
        isinstance(columns.get(key), Sequence) and not isinstance(columns[key], str)
        for key in ("inputs", "outputs")
    ):
        raise BadTests("'input_output' must be an object with the lists 'inputs' and 'outputs'")
    pairs = _zipped(columns, "inputs", "outputs", "input_output")
    name = columns.get("fn_name")
    if not name:
        return Suite(tuple(InputOutput(text(given), text(wanted)) for given, wanted in pairs))
    if not str(name).isidentifier():
        raise BadTests(f"'fn_name' is {name!r}, which is no name of a function")
    return Suite(tuple(call(str(name), given, wanted, wrapped=True) for given, wanted in pairs), str(name))
