"""Tests that have to be called, and tests that assert nothing. Each table holds a program that is right and
one that is wrong for every test of it."""

import pytest

from menon.errors import UserError
from menon.reward.code.suite import Check, Suite
from menon.reward.code.tests import BrokenTest, CodeTests
from menon.sandbox.layers import pool


@pytest.fixture(autouse=True)
def full():
    try:
        pool("full")
    except UserError as error:
        pytest.skip(str(error))


def run(program: str, test: str, entry: str = ""):
    return CodeTests().run(program, Suite((Check(test),), entry))


ADD, ZERO = "def add(a, b): return a + b", "def add(a, b): return 0"
OF_ADD = {
    "functions": "def test_a():\n    assert add(0, 0) == 0\n\ndef test_b():\n    assert add(1, 2) == 3",
    "import": "from solution import add as plus\n\ndef test_a():\n    assert plus(1, 2) == 3",
    "import all": "from solution import *\n\ndef test_a():\n    assert add(1, 2) == 3",
    "module": "import solution\n\ndef test_a():\n    assert solution.add(1, 2) == 3",
    "of a package": (
        "from .solution import add\nimport src.main as main\n\n"
        "def test_a():\n    assert add(1, 2) == main.add(0, 3) == 3"
    ),
    "another module": "from your_module import add\n\ndef test_a():\n    assert add(1, 2) == 3",
    "parametrize": (
        "import pytest\n@pytest.mark.parametrize('a, c', [(0, 0), pytest.param(1, 2, id='x')])\n"
        "@pytest.mark.parametrize(argnames='b', argvalues=[0])\n"
        "def test_a(a, b, c):\n    assert add(a, a) == c + b"
    ),
    "fixture": (
        "import pytest\n@pytest.fixture\ndef two():\n    yield 2\n"
        "def test_a(two):\n    assert add(1, two) == 3"
    ),
    "class": (
        "import pytest\nclass TestAdd:\n    def setup_method(self):\n        self.two = 2\n"
        "    @pytest.fixture\n    def one(self):\n        return 1\n"
        "    def test_a(self, one):\n        assert add(one, self.two) == 3"
    ),
    "approx": "from pytest import approx\ndef test_a():\n    assert [add(.1, .2), 1] == approx([.3, 1])",
    "unittest": (
        "import unittest\nclass T(unittest.TestCase):\n    @classmethod\n    def setUpClass(cls):\n"
        "        cls.two = 2\n    def test_a(self):\n        for a in (0, 1):\n"
        "            with self.subTest(a=a):\n                self.assertEqual(add(a, self.two), a + 2)\n"
        "if __name__ == '__main__':\n    unittest.main()"
    ),
    "main guard": "def main():\n    assert add(1, 2) == 3\nif __name__ == '__main__':\n    main()",
    "called by itself": "def test_case(a, b, c):\n    assert add(a, b) == c\ntest_case(1, 2, 3)",
    "a helper": "def test_case(a, c):\n    assert add(a, a) == c\ndef test_all():\n    test_case(1, 2)",
    "raise": "if add(1, 2) != 3:\n    raise ValueError",
    "exit": "import sys\nif add(1, 2) != 3:\n    sys.exit(1)\nsys.exit(0)",
    "swallowed": "try:\n    assert add(1, 2) == 3\nexcept AssertionError:\n    print('no')",
    "swallowed, the first holds": (
        "def test_a():\n    assert add(0, 0) == 0\n    if add(1, 2) != 3:\n        raise AssertionError\n"
        "try:\n    test_a()\n    assert add(0, 0) == 0\n    assert add(2, 2) == 4\n"
        "except AssertionError:\n    pass"
    ),
    "numpy": "import numpy as np\nnp.testing.assert_allclose(add(1, 2), 3)",
}


@pytest.mark.parametrize("test", OF_ADD.values(), ids=OF_ADD)
def test_tests_are_called(test):
    assert run(ADD, test).outcome == "pass"
    assert run(ZERO, test).outcome == "fail"
    assert run("x = 1", test).outcome == "fail"


PAY = "class Poor(Exception): pass\ndef pay(n):\n    if n > 5: raise Poor('only 5')\n    return n"
KIND = "class Poor(Exception): pass\ndef pay(n): return n"
OF_PAY = {
    "raises": "import pytest\nfrom solution import *\ndef test_a():\n    pytest.raises(Poor, pay, 9)",
    "match": (
        "import pytest\ndef test_a():\n    with pytest.raises(Poor, match='^only') as caught:\n"
        "        pay(9)\n"
        "    assert '5' in str(caught.value)"
    ),
    "except": "try:\n    pay(9)\n    assert False\nexcept Poor:\n    pass",
    "unittest": (
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n"
        "        with self.assertRaises(Poor):\n            pay(9)"
    ),
    "a built-in one": "import pytest\ndef test_a():\n    with pytest.raises(Exception):\n        pay(9)",
}


@pytest.mark.parametrize("test", OF_PAY.values(), ids=OF_PAY)
def test_tests_of_exceptions(test):
    assert run(PAY, test).outcome == "pass"
    assert run(KIND, test).outcome == "fail"
    other = PAY.replace("raise Poor('only 5')", "raise KeyboardInterrupt")
    assert run(other, test).outcome == "fail"


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("", "asserts nothing"),
        ("# add\n'add'", "asserts nothing"),
        ("add(1, 2)", "asserts nothing"),
        ("print(add(1, 2) == 3)\nexit(0)", "asserts nothing"),
        ("add(1, 2)\nassert True", "asserts nothing"),
        ("assert (add(1, 2) == 3, 'three')", "asserts nothing"),
        ("def check(f):\n    assert f(1, 2) == 3", "asserts nothing"),
        ("async def test_a():\n    assert add(1, 2) == 3", "asserts nothing"),
        ("def test_a():\n    def inner():\n        assert add(1, 2) == 3", "asserts nothing"),
        ("class Cases:\n    def test_a(self):\n        assert add(1, 2) == 3", "asserts nothing"),
        ("assert 1 + 1 == 2", "never uses the program"),
        ("def add(a, b): return a + b\nassert add(1, 2) == 3", "never uses the program"),
        ("if add is None:\n    add(1, 2)\nassert 1 + 1 == 2", "never uses the program"),
        ("assert_equal(add(1, 2), 3)", "uses assert_equal, which it does not define"),
        ("def test_a(capsys):\n    assert add(1, 2) == 3", "'capsys', which is no fixture"),
        ("import pytest\ndef test_a():\n    pytest.warns(UserWarning)\n    assert add(1, 2)", "pytest.warns"),
        ("from unittest.mock import patch\ndef test_a():\n    assert add(1, 2) == 3", "patches functions"),
        ("import io, sys\nsys.stdin = io.StringIO('1')\nassert add(1, 2) == 3", "replaces sys.stdin"),
        (
            "import io, sys\nsys.stdout = o = io.StringIO()\nadd(1, 2)\nassert o.getvalue()",
            "what the program prints",
        ),
    ],
)
@pytest.mark.parametrize("program", [ADD, ZERO, "def add(a, b): raise ImportError"])
def test_a_test_that_says_nothing_gives_no_verdict(test, why, program):
    with pytest.raises(BrokenTest, match=why):
        run(program, test)


def test_a_class_of_the_program():
    program = "class A: pass\nclass B(A): pass\ndef make(): return B()"
    assert run(program, "assert isinstance(make(), A) and not isinstance(3, A)").outcome == "pass"
    assert run(program.replace("B(A)", "B"), "assert isinstance(make(), A)").outcome == "fail"


def test_an_assertion_that_is_not_reached_does_not_pass():
    assert (
        run("def items(): return []", "for x in items():\n    assert x > 0").why == "no assertion was reached"
    )


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("def add(a, b: Foo): pass", "NameError: name 'Foo' is not defined"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("x = 1 +", "SyntaxError: invalid syntax (solution.py, line 1)"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("import os; os._exit(0)", "the program ended before it answered"),
        ("def sub(): pass", "NameError: name 'add' is not defined"),
    ],
)
def test_the_reason_is_the_programs_own_error(program, why):
    expects = (
        "import pytest\ndef test_a():\n    with pytest.raises((NameError, SystemExit)):\n        add(1, 2)"
    )
    assert run(program, "assert add(1, 2) == 3").why == why
    assert run(program, expects).outcome == "fail"


def test_nodes_of_leetcode():
    program = "class Solution:\n    def f(self, x: Optional[ListNode]) -> Optional[ListNode]: return x.next"
    test = "assert Solution().f(ListNode(1, ListNode(2))).val == 2"
    assert run(program, test).outcome == "pass"
    assert run(program.replace("return x.next", "return x"), test).outcome == "fail"
    assert run("class ListNode: pass\n" + program, test).outcome == "fail"


@pytest.mark.parametrize(
    ("program", "outcome"),
    [
        ("class Solution:\n    def f(self, x: List[int]) -> Optional[int]: return x[0]", "pass"),
        ("class Solution:\n    def f(self, x): return next(iter(Counter(deque(x)))) * int(inf > 1)", "pass"),
        ("def f(x: Dict[str, Tuple[int]]): return x[0]", "pass"),
        ("def f(x): return deque(x)[0]", "fail"),
        ("class Solution: pass\nclass List: pass", "fail"),
    ],
)
def test_names_of_starter_code(program, outcome):
    assert run(program, "assert f([3]) == 3").outcome == outcome
    assert run("class Solution: pass", "assert gcd(4, 6) == 2").outcome == "fail"
