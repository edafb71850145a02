import base64
import json
import math
import pickle
import zlib

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
        (7, float("inf"), False),
    ],
)
def test_apps_calls(result, wanted, right):
    (check,) = suite_of({"input_output": {"fn_name": "f", "inputs": [[1, "x"]], "outputs": [wanted]}}).cases
    assert isinstance(check, Check)
    asked = []
    space = {"inf": math.inf, "f": lambda *arguments: asked.append(arguments) or result}
    try:
        exec(check.code, space)
        assert right
    except AssertionError:
        assert not right
    assert asked == [(1, "x")]


CALL = {"input": "[1, 2]\n3\n", "output": "6", "testtype": "functional"}
SCRIPT = {"input": "3\n", "output": "6\n", "testtype": "stdin"}


@pytest.mark.parametrize(
    "row",
    [
        {"tests": [CALL], "metadata": {"func_name": "total"}},
        {"tests": json.dumps([CALL]), "metadata": '{"func_name": "total"}'},
        {"tests": [CALL | {"metadata": {"func_name": "total"}}]},
        {"tests": [CALL], "starter_code": "class Solution:\n    def total(self, nums: List[int], k: int):\n"},
        {"tests": [CALL], "entry_point": "Solution().total"},
        {"test_cases": [{"input": [[1, 2], 3], "output": 6, "type": "function_call", "fn_name": "total"}]},
        {"public_test_cases": json.dumps([CALL]), "metadata": '{"func_name": "total"}'},
        {
            "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(json.dumps([CALL])))).decode(),
            "metadata": '{"func_name": "total"}',
        },
        {"reward_model": {"ground_truth": json.dumps([CALL])}, "metadata": {"func_name": "total"}},
    ],
)
def test_a_functional_test_calls_its_function(row):
    (check,) = suite_of(row).cases
    exec(check.code, {"total": lambda nums, k: sum(nums) + k})
    with pytest.raises(AssertionError):
        exec(check.code, {"total": lambda nums, k: [6]})  # no list around the result, unlike APPS


def test_a_packed_test_runs_nothing():
    packed = base64.b64encode(zlib.compress(pickle.dumps(print))).decode()
    with pytest.raises(BadTests, match="neither JSON nor packed tests"):
        suite_of({"private_test_cases": packed})


IN_OUT = {"inputs": ["3\n"], "outputs": ["6\n"]}
ASSERTS = "assert total(3) == 6"


@pytest.mark.parametrize(
    ("row", "cases", "entry"),
    [
        ({"tests": [SCRIPT]}, [InputOutput("3\n", "6\n")], ""),
        ({"reward_model": {"ground_truth": IN_OUT}}, [InputOutput("3\n", "6\n")], ""),
        ({"reward_model": {"ground_truth": json.dumps(IN_OUT)}}, [InputOutput("3\n", "6\n")], ""),
        ({"reward_model": {"ground_truth": json.dumps({"assert_case": [ASSERTS]})}}, [Check(ASSERTS)], ""),
        ({"reward_model": {"ground_truth": json.dumps({"functional": ASSERTS})}}, [Check(ASSERTS)], ""),
        ({"reward_model": {"ground_truth": json.dumps({"pytest": ASSERTS})}}, [Check(ASSERTS)], ""),
        (
            {
                "reward_model": {
                    "ground_truth": {
                        "test_code": "def check(candidate): pass",
                        "import_prefix": "import math",
                        "entry_point": "Solution().total",
                    }
                }
            },
            [Check("import math\ndef check(candidate): pass\n\ncheck(total)\n")],
            "total",
        ),
        (
            {"test": ASSERTS, "test_info": [{"function_name": "total", "parameter_list": "(x)"}]},
            [Check(ASSERTS)],
            "total",
        ),
        ({"test_code": ASSERTS}, [Check(ASSERTS)], ""),
        ({"tests": ["def check(): pass"]}, [Check("def check(): pass\n\ncheck()\n")], ""),
    ],
)
def test_rows_of_verl_and_kodcode(row, cases, entry):
    assert suite_of(row) == Suite(tuple(cases), entry)


def test_the_names_that_tests_ask_for():
    test = "from solution import add\n\ndef test_a():\n    assert add(1, 2) == sub(4, 1)"
    assert Suite((Check(test),)).names() == {"add", "sub"}
    assert Suite((Check(test),), "add").names() == {"add"}
    assert Suite((InputOutput("1", "2"),)).names() == set()


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
        ({"tests": ["def check(c): pass"]}, "entry_point"),
        ({"input_output": "{"}, "lists 'inputs' and 'outputs'"),
        ({"input_output": {"inputs": ["1"], "outputs": []}}, "1 inputs and 0 outputs"),
        ({"input_output": {"inputs": [[1]], "outputs": [], "fn_name": "f"}}, "1 inputs and 0 outputs"),
        (
            {"input_output": {"inputs": [[1]], "outputs": [1], "fn_name": "f(); import os"}},
            "no name of a function",
        ),
        ({"public_tests": {"input": ["1"]}}, "'public_tests' must be an object"),
        ({"public_tests": {"input": [], "output": []}}, "tests are empty"),
        ({"input_output": {"inputs": [], "outputs": []}}, "tests are empty"),
        ({"tests": [{"input": "1", "output": ""}]}, "asserts nothing"),
        ({"tests": [{"input": "1", "output": None}]}, "is null"),
        ({"tests": [CALL]}, "no column names its function"),
        ({"tests": [SCRIPT | {"testtype": "interactive"}]}, "'testtype' of a test is 'interactive'"),
        ({"tests": [CALL], "metadata": {"func_name": "f()"}}, "no name of a function"),
        ({"private_test_cases": "rubbish"}, "neither JSON nor packed tests"),
        ({"reward_model": {"ground_truth": "42"}}, "no tests"),
    ],
)
def test_bad_rows_say_why(row, why):
    with pytest.raises(BadTests, match=why.replace("(", r"\(")):
        suite_of(row)
