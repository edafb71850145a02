import json

import pytest

from menon.reward.code.rows import suite_of
from menon.reward.code.suite import BadTests, Check, InputOutput, Suite


def test_pairs_of_input_and_output():
    row = {"tests": [{"input": "1 2\n", "output": "3\n"}, {"input": ["1", "2"], "output": 3}]}
    assert suite_of(row) == Suite((InputOutput("1 2\n", "3\n"), InputOutput("1\n2", "3")))
    assert suite_of({"tests": json.dumps(row["tests"])}) == suite_of(row)


def test_mbpp():
    row = {"tests": ["assert f(1)", "assert f(2)"], "setup": "x = 1"}
    assert suite_of(row) == Suite((Check("x = 1\nassert f(1)"), Check("x = 1\nassert f(2)")))
    assert suite_of({"test_list": row["tests"], "test_setup_code": "x = 1"}) == suite_of(row)


def test_human_eval():
    suite = suite_of({"test": "def check(candidate):\n    assert candidate(1) == 2\n", "entry_point": "f"})
    assert suite.entry == "f"
    assert suite.cases == (Check("def check(candidate):\n    assert candidate(1) == 2\n\n\ncheck(f)\n"),)


def test_apps_scripts():
    row = {"input_output": json.dumps({"inputs": ["1\n", ["2", "3"]], "outputs": ["2\n", ["5"]]})}
    assert suite_of(row) == Suite((InputOutput("1\n", "2\n"), InputOutput("2\n3", "5")))


def test_code_contests():
    row = {
        "public_tests": {"input": ["1"], "output": ["2"]},
        "private_tests": {"input": ["3"], "output": ["4"]},
        "generated_tests": {"input": [], "output": []},
    }
    assert suite_of(row) == Suite((InputOutput("1", "2"), InputOutput("3", "4")))


@pytest.mark.parametrize(
    ("result", "wanted", "right"),
    [
        (3, 3, True),
        (4, 3, False),
        ((1, 2), [1, 2], True),
        ([(1, "a")], [[1, "a"]], True),
        (0.3, 0.30000001, True),
        (0.31, 0.3, False),
        (True, True, True),
        (1, True, False),
        (5, [5], True),  # APPS puts some results in a list of their own
        ({1: 2}, {"1": 2}, True),
        (None, 0, False),
        ("3", 3, False),
    ],
)
def test_apps_calls(result, wanted, right):
    (check,) = suite_of({"input_output": {"fn_name": "f", "inputs": [[1, "x"]], "outputs": [wanted]}}).cases
    assert isinstance(check, Check)
    asked = []
    space = {"f": lambda *arguments: asked.append(arguments) or result}
    try:
        exec(check.code, space)
        assert right
    except AssertionError:
        assert not right
    assert asked == [(1, "x")]


def test_leetcode_writes_one_argument_per_line():
    (check,) = suite_of({"input_output": {"fn_name": "f", "inputs": ['[1,2]\n"x"'], "outputs": ["3"]}}).cases
    assert "f(*[[1, 2], 'x'])" in check.code


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({}, "no tests"),
        ({"tests": []}, "no tests"),
        ({"tests": [3]}, "neither code nor"),
        ({"tests": [{"input": "1"}]}, "neither code nor"),
        ({"test": "def check(c): pass"}, "entry_point"),
        ({"input_output": "{"}, "lists 'inputs' and 'outputs'"),
        ({"input_output": {"inputs": ["1"], "outputs": []}}, "1 inputs and 0 outputs"),
        ({"input_output": {"inputs": [[1]], "outputs": [], "fn_name": "f"}}, "1 inputs and 0 outputs"),
        (
            {"input_output": {"inputs": [[1]], "outputs": [1], "fn_name": "f(); import os"}},
            "no name of a function",
        ),
        ({"public_tests": {"input": ["1"]}}, "'public_tests' must be an object"),
    ],
)
def test_bad_rows_say_why(row, why):
    with pytest.raises(BadTests, match=why.replace("(", r"\(")):
        suite_of(row)
