import ast
import gzip
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from menon.errors import UserError
from menon.reward.code.rows import suite_of
from menon.reward.code.signatures import Asked
from menon.reward.code.suite import Check, InputOutput, Suite
from menon.reward.code.tests import BrokenTest, CodeTests
from menon.reward.grade import grading_of
from menon.sandbox.layers import pool


@pytest.fixture(autouse=True)
def full():
    try:
        pool("full")
    except UserError as error:
        pytest.skip(str(error))


ADD = {
    "tests": [
        "assert add(1, 2) == 3",
        "assert add(0, 0) == 0",
        "assert add(-1, 5) == 4",
        "assert add(2, 2) == 4",
    ]
}


def fenced(code: str) -> str:
    return f"I think so:\n```python\n{code}\n```\n"


def check(code: str, *tests: str, entry: str = "", helpers: str = "") -> str:
    return CodeTests().run(code, Suite(tuple(map(Check, tests)), entry), helpers).outcome


def test_all_or_the_share():
    half = fenced("def add(a, b): return 4")
    assert CodeTests()("", half, **ADD).score == 0
    share = CodeTests(score="fraction")("", half, **ADD)
    assert (share.score, share.acc) == (0.5, 0.0)
    assert share.parts["tests_passed"] == 0.5
    right = CodeTests(score="fraction")("", fenced("def add(a, b): return a + b"), **ADD)
    assert (right.score, right.acc) == (1.0, 1.0)


def test_what_it_says_of_an_answer_for_a_teacher_to_read():
    code = CodeTests()
    assert code("", fenced("def add(a, b): return a + b"), **ADD).feedback == ""
    assert code("", "it is a + b", **ADD).feedback == "the answer has no block of code"
    assert code("", fenced("def add(a, b): return 3"), **ADD).feedback.startswith("a test failed (fail): ")
    raised = code("", fenced("def add(a, b): return a / 0"), **ADD).feedback
    assert raised == "a test failed (fail): ZeroDivisionError: division by zero"


def test_no_code_is_wrong_and_broken_tests_are_nobodys_fault():
    assert CodeTests()("", "it is a + b", **ADD).score == 0
    none = CodeTests()("", fenced("x = 1"))
    assert math.isnan(none.score)
    assert "no tests" in none.error
    broken = CodeTests()("", fenced("def add(a, b): return 3"), tests=["assert add(1, == 3"])
    assert math.isnan(broken.score)
    assert "a test is broken: SyntaxError" in broken.error


def test_a_test_that_ends_before_the_solution_began_is_judged():
    """On a busy machine the test's process can be over while the solution's is still closing itself in."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        grade = CodeTests()
        errors = {grade("", fenced("def f(x): return x"), tests=["assert f(1 == 1"]).error for _ in range(60)}
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert len(errors) == 1
    assert "a test is broken: SyntaxError" in errors.pop()


def test_tests_may_be_fewer():
    assert CodeTests(most_tests=2).chosen(tuple("abcd")) == ("a", "c")
    assert CodeTests(score="fraction", most_tests=2)("", fenced("def add(a, b): return 0"), **ADD).score == 0
    assert CodeTests(most_tests=9).chosen(tuple("abcd")) == tuple("abcd")


def test_scripts():
    row = {"tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "5 5\n", "output": "10\n"}]}
    assert CodeTests()("", fenced("a, b = map(int, input().split())\nprint(a + b)"), **row).score == 1
    assert CodeTests()("", fenced("print(3)"), **row).score == 0
    verdict = CodeTests(score="fraction")("", fenced("print(3)"), **row)
    assert (verdict.score, verdict.parts["fail"]) == (0.5, 1.0)


def test_a_budget_for_all_tests():
    tests = Suite(tuple(InputOutput("", "1") for _ in range(5)))
    slow = "import time\nt = time.process_time()\nwhile time.process_time() < t + .3: pass\nprint(1)"
    run = CodeTests(score="fraction", total_s=0.5).run(slow, tests)
    assert (run.outcome, run.passed, run.total) == ("timeout", 2, 5)


class TestFunctions:
    def test_arguments_of_every_plain_kind(self):
        code = "def kinds(*a, **k): return [type(x).__name__ for x in a] + sorted(k)"
        wanted = ["int", "float", "str", "list", "tuple", "dict", "set", "bytes", "NoneType", "bool", "x"]
        assert (
            check(code, f"assert kinds(1, 1.5, 'a', [], (), {{}}, {{1}}, b'', None, True, x=2) == {wanted}")
            == "pass"
        )

    def test_results_keep_their_type(self):
        code = "def f(): return (1, [2.0], {'a': {3}})"
        assert check(code, "r = f()\nassert r == (1, [2.0], {'a': {3}}) and type(r) is tuple") == "pass"

    def test_an_argument_is_changed_in_place(self):
        code = "def put(l, d): l.sort(); d['x'] = 1"
        assert check(code, "l, d = [3, 1], {}\nput(l, d)\nassert l == [1, 3] and d == {'x': 1}") == "pass"

    def test_exceptions_are_the_built_in_ones(self):
        code = "class Bad(ValueError): pass\ndef f(x): raise Bad('no ' + x)"
        test = (
            "try:\n    f('x')\n    assert False\nexcept ValueError as error:\n    assert str(error) == 'no x'"
        )
        assert check(code, test) == "pass"

    def test_objects_iterators_and_functions(self):
        code = """
class Node:
    def __init__(self, value): self.value, self.next = value, None
def total(node): return node.value + (total(node.next) if node.next else 0)
def count(n): yield from range(n)
def apply(f, xs): return [f(x) for x in xs]
"""
        assert (
            check(code, "a = Node(1)\na.next = Node(2)\nassert total(a) == 3 and a.next.value == 2") == "pass"
        )
        assert check(code, "assert list(count(3)) == [0, 1, 2] and next(count(1)) == 0") == "pass"
        assert (
            check(code, "k = 2\nassert apply(lambda x: x * k, [1, 2]) == [2, 4] and apply(str, [1]) == ['1']")
            == "pass"
        )

    def test_functions_of_the_test_as_arguments(self):
        code = "class N: value = 3\ndef f(g): return g(N())"
        assert check(code, "assert f(lambda n: n.value) == 3") == "pass"
        assert check(code, "import re\nassert f(lambda n: re.match('a', 'a')) == 3") == "fail"

    def test_stop_iteration_does_not_end_a_loop_of_the_test(self):
        test = "assert all(map(lambda x: f(x) == x, [1, 2]))"
        assert check("def f(x): return x", test) == "pass"
        assert check("def f(x): raise StopIteration", test) == "fail"

    def test_objects_are_equal_to_themselves_alone(self):
        code = "class V:\n    def __eq__(self, other): return True\ndef v(): return V()"
        assert check(code, "assert v() == v()") == "fail"

    def test_a_method_of_class_solution(self):
        row = {"input_output": {"fn_name": "twoSum", "inputs": [[[1, 2], 3]], "outputs": [[0, 1]]}}
        good = "class Solution:\n    def twoSum(self, nums, target):\n        return 0, 1"
        assert CodeTests()("", fenced(good), **row).score == 1
        assert CodeTests()("", fenced(good.replace("0, 1", "1, 1")), **row).score == 0

    @pytest.mark.parametrize(
        ("returned", "wanted", "score"),
        [
            ("7", math.inf, 0),
            ("float('inf')", math.inf, 1),
            ("-float('inf')", math.inf, 0),
            ("10**400", math.inf, 0),
            ("float('nan')", math.inf, 0),
            ("float('inf')", 2.5, 0),
            ("10**400", 2.5, 0),
            ("float('nan')", 2.5, 0),
            ("2.5000001", 2.5, 1),
            ("2.51", 2.5, 0),
            ("3", 3.0, 1),
            ("[1, float('inf')]", [1, math.inf], 1),
            ("[1, 5]", [1, math.inf], 0),
            ("10**400", 10**400, 1),
            ("10**400 + 1", 10**400, 0),
        ],
    )
    def test_tolerance_is_between_finite_numbers(self, returned, wanted, score):
        """The program is named like a function of a library, and brings an `inf` of its own."""
        row = {"input_output": {"fn_name": "gcd", "inputs": [[1]], "outputs": [wanted]}}
        code = f"inf = nan = {returned}\ndef gcd(x): return {returned}"
        assert CodeTests()("", fenced(code), **row).score == score
        live = {"tests": [{"input": "1", "output": json.dumps(wanted), "testtype": "functional"}]}
        live["starter_code"] = "def gcd(x):\n    pass"
        assert CodeTests()("", fenced(code), **live).score == score

    def test_the_name_of_a_built_in_function(self):
        assert check("def sum(a, b): return a * b", "assert sum(10, 15) == 150") == "pass"

    def test_helpers_of_the_question_win_over_the_answers(self):
        question = (
            "def poly(xs, x):\n    return sum(c * x ** i for i, c in enumerate(xs))\n\n\n"
            "def root(xs):\n    'A zero.'\n"
        )
        test = "def check(candidate):\n    assert abs(poly([-2, 1], candidate([-2, 1]))) < 1e-6\n"
        row = {"test": test, "entry_point": "root", "question": question}
        assert CodeTests()("", fenced("def root(xs):\n    return -xs[0] / xs[1]"), **row).score == 1
        assert CodeTests()("", fenced("def poly(xs, x): return 0\ndef root(xs): return 7"), **row).score == 0

    def test_the_library_is_not_the_answers(self):
        cheat = "def isclose(a, b): return True\ndef area(r): return 0"
        assert check(cheat, "assert isclose(area(2), 12.566370614359172)") == "fail"
        assert (
            check(
                "import math\ndef area(r): return math.pi * r * r",
                "assert isclose(area(2), 12.566370614359172)",
            )
            == "pass"
        )

    def test_a_main_guard_does_not_run(self):
        assert (
            check("def f(): return 1\nif __name__ == '__main__': print(int(input()))", "assert f() == 1")
            == "pass"
        )

    def test_a_test_that_passes_what_cannot_be_sent_is_broken_not_failed(self):
        with pytest.raises(BrokenTest, match="cannot be sent"):
            check("def f(x): return 1", "class A: pass\nassert f(A()) == 1")


def test_many_at_once_and_in_order():
    asked = [Asked("", fenced(f"def add(a, b): return {c}"), None, ADD) for c in ("a + b", "4", "a + b", "0")]
    reward = CodeTests(score="fraction")
    assert [verdict.score for verdict in reward.many(asked)] == [1.0, 0.5, 1.0, 0.25]
    assert hasattr(grading_of(reward), "grade_all")


@pytest.mark.parametrize(
    "setting", [{"sandbox": "off"}, {"time_s": 0}, {"total_s": 0}, {"most_tests": -1}, {"memory_mb": 1}]
)
def test_bad_settings(setting):
    with pytest.raises(UserError):
        CodeTests(**setting)


def test_the_header_tells_the_layers():
    assert "landlock + seccomp" in CodeTests().header["sandbox"]


# Public sets


def rows(folder: Path, name: str) -> list[dict]:
    with gzip.open(folder / "data" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def columns(row: dict) -> dict:
    return {name: value for name, value in row.items() if name not in ("prompt", "answer")} | {
        "question": row["prompt"]
    }


class Mutant(ast.NodeTransformer):
    """Every returned value is another one of the same kind, or none."""

    def visit_Return(self, node: ast.Return) -> ast.Return:
        return ast.Return(ast.Tuple([ast.Constant("mutant"), node.value or ast.Constant(None)], ast.Load()))


def mutant(code: str) -> str:
    return ast.unparse(ast.fix_missing_locations(Mutant().visit(ast.parse(code))))


@pytest.mark.parametrize("name", ["human_eval", "mbpp"])
def test_canonical_solutions_pass_and_mutants_fail(shared, name):
    """A sample here; all of them: docs/sandbox.md."""
    sample = rows(shared, name)[3::40]
    reward = CodeTests()
    for row in sample:
        whole = row["prompt"] + row["answer"] if name == "human_eval" else row["answer"]
        assert reward("", reward.spell("", row["answer"]), **columns(row)).score == 1, row["id"]
        assert reward("", fenced(mutant(whole)), **columns(row)).score == 0, row["id"]


def test_code_contests_rows_are_read(shared):
    read = [suite_of(columns(row)) for row in rows(shared, "code_contests_test")]
    assert len(read) == 165
    assert all(isinstance(case, InputOutput) for suite in read for case in suite.cases)
