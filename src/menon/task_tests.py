"""The columns of a row that hold the tests of a programming task."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

TEST_COLUMNS = (
    *("tests", "test", "test_code", "test_list", "test_cases", "input_output"),
    *("public_tests", "private_tests", "generated_tests", "public_test_cases", "private_test_cases"),
)
"""Columns that hold the tests of a programming task; a row with one of them needs no answer."""
TEST_FIELDS = ("inputs", "functional", "pytest", "test_code", "assert_case")
"""Fields of verl's `reward_model.ground_truth` that hold the tests of a programming task."""


def tests_of_ground_truth(value: Any) -> Any:
    """The tests in verl's `reward_model.ground_truth`, an object or a list, read from JSON where it is text;
    None where it is an answer."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, Mapping):
        return value if any(value.get(name) is not None for name in TEST_FIELDS) else None
    if not isinstance(value, list) or not value:
        return None
    test = [isinstance(one, Mapping) and {"input", "output"} <= one.keys() for one in value]
    code = [isinstance(one, str) and "assert" in one for one in value]
    return value if all(test) or all(code) else None
