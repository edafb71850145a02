"""The Python tool."""

import re

import pytest

from menon.errors import UserError
from menon.rollout.environments.python_tool import PythonTool, shown
from menon.sandbox.launch import Finished
from menon.sandbox.layers import LEVELS, layers

LEVEL = next(name for name, needed in LEVELS.items() if set(needed) <= set(layers().active))
"""The strictest that this machine has."""


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("print(2**10)", "1024"),
        ("\nfor i in range(2):\n    print(i)\n", "0\n1"),
        ("", ""),
        ("print('a')\n1/0", "a\nZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "ended with code 3"),
        ("print('</output>')", "< /output>"),
        ("print('x' * 500)", "..." + "x" * 100),
        # the value of a last expression
        ("x = 2\nx ** 10", "1024"),
        ("print(1)\n'a'", "1\n'a'"),
        ("None", ""),
        ("x = 2\nx;", ""),
        ("if True:\n    3", ""),
        ("exit()", ""),
        # what stands around the code
        (" print(1)\nprint(2)", "1\n2"),
        ("\n    x = 1\n    if x:\n        print(x)\n", "1"),
        ("x = 1\n    print(x)\n    x + 1", "1\n2"),
        ("\n```python\nprint(1)\n```\n", "1"),
        (" ```py\r\n1 + 1```", "2"),
        ("```python\nprint(1)", "1"),
        ("```python print(1)```", "1"),
        ("so:\n\n  ```\n  for i in range(2):\n      print(i)\n  ```\n", "0\n1"),
        ("s = '''\n```\nx\n```\n'''\nlen(s)", "11"),
        ("print((", "SyntaxError: '(' was never closed"),
    ],
)
def test_what_comes_back(code, output):
    tool = PythonTool(sandbox=LEVEL, most_output=100)
    assert tool.step(f"so <python>{code}</python>") == (f"\n<output>\n{output}\n</output>\n", 0.0, False)


def test_calls_share_nothing_and_are_limited():
    tool = PythonTool(sandbox=LEVEL, time_s=0.5)
    assert tool.run("value = 1") == ""
    assert "NameError" in tool.run("print(value)")
    assert tool.run("while True: pass") == "the program took too long"


@pytest.mark.parametrize("limit", ["timeout", "memory", "tasks", "disk"])
def test_every_limit_is_said_in_words(limit):
    finished = Finished(limit, -9, 0, b"half", b"", 0.1, 0.1, 1.0, 0)
    assert re.search("^(the program|too m)", shown(finished, 100))


def test_the_last_block_counts_and_an_answer_ends():
    tool = PythonTool(sandbox=LEVEL)
    assert "\n2\n" in tool.step("<python>1</python> no <python>print(2)</python>")[0]
    assert "there is no <python>" in tool.step("print(2)</python>")[0]
    assert tool.step("so it is 1024") == ("", 0.0, True)


@pytest.mark.parametrize(
    "settings", [{"time_s": 0}, {"most_output": 0}, {"memory_mb": 1}, {"sandbox": "none at all"}]
)
def test_settings_are_checked(settings):
    with pytest.raises(UserError):
        PythonTool(**{"sandbox": LEVEL} | settings)
