"""The assertions of a test: whether its code has any that run, and how many were made.

A test without an assertion passes every program, so it must not give a verdict.
"""

import ast
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any, TypeVar

TALLY = "_menon_tally"
"""Name of the `Tally` among the names of a test."""
LEAVES = ("exit", "quit", "_exit", "fail")
"""Calls that end a test, as those that compare by themselves do."""
Value = TypeVar("Value")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Tally:
    """Counts the assertions that held, and those that did not, while a test ran."""

    def __init__(self, may_fail: bool = False) -> None:
        self.may_fail = may_fail
        self.made = 0
        self.failed = 0
        self.guarded = False
        """Whether code ran that fails by itself (`if f(1) != 2: raise ...`)."""
        self.entered: set[CodeType] = set()
        """The functions of the test that were called."""

    def check(self, value: Any) -> bool:
        """The truth of what a test asserts."""
        holds = bool(value)
        self.made += holds
        self.failed += not holds and not self.may_fail
        return holds

    def count(self, value: Value) -> Value:
        """Counts a call such as `assertEqual`, which raises by itself."""
        self.made += 1
        return value

    def fail(self) -> None:
        """Counts an assertion that a test wrote as a raise."""
        self.failed += not self.may_fail

    def enter(self, guarded: bool) -> None:
        self.guarded |= guarded
        self.entered.add(sys._getframe(1).f_code)


class _Counting(ast.NodeTransformer):
    """Adds calls of the tally to a test."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        if is_assertion(node):
            node.test = _tally("check", node.test).value
        return node

    def visit_Raise(self, node: ast.Raise) -> list[ast.stmt]:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        is_failure = isinstance(error, ast.Name) and error.id == "AssertionError"
        return [_tally("fail"), node] if is_failure else [node]

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return _tally("count", node).value if is_assertion(node) else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        guarded = any(map(is_guard, scope(node)))
        self.generic_visit(node)
        node.body.insert(0, _tally("enter", ast.Constant(guarded)))
        return node

    def literal(self, node: ast.AST) -> ast.AST:
        return node  # data, often most of a test

    visit_List = visit_Tuple = visit_Dict = visit_Set = literal


def _tally(method: str, *arguments: ast.expr) -> ast.Expr:
    function = ast.Attribute(ast.Name(TALLY, ast.Load()), method, ast.Load())
    return ast.Expr(ast.Call(function, list(arguments), []))


def counted(tree: ast.Module) -> ast.Module:
    """The same test, which reports its assertions and the calls of its functions to `TALLY`. Changes
    `tree`."""
    return ast.fix_missing_locations(_Counting().visit(tree))


def is_assertion(node: ast.AST) -> bool:
    """An assert of something that is not constant, or a call such as `assertEqual`, `raises`."""
    if isinstance(node, ast.Assert):
        return _constant(node.test) is None
    name = name_called(node)
    return name.startswith("assert") or name == "raises"


def is_guard(node: ast.AST) -> bool:
    """A statement that fails the test where it is reached."""
    if isinstance(node, ast.Assert):
        return _constant(node.test) is False
    if isinstance(node, ast.Raise):
        return node.exc is not None
    name = name_called(node)
    return name == "fail" or (name in LEAVES and ends_badly(node))


def ends_badly(leave: ast.AST) -> bool:
    """Whether a call such as `sys.exit(1)` gives a code other than success."""
    arguments = leave.args if isinstance(leave, ast.Call) else []
    return bool(arguments) and not (isinstance(arguments[0], ast.Constant) and not arguments[0].value)


def _constant(test: ast.expr) -> bool | None:
    """The truth of a literal; None of anything else. A tuple is always true: `assert (x == 1, "message")`."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    return True if isinstance(test, ast.Tuple) and test.elts else None


def name_called(node: ast.AST) -> str:
    """`f` of the calls `f()` and `a.b.f()`; else nothing."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def scope(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node that runs with it: not what functions and classes in it hold."""
    for child in ast.iter_child_nodes(node):
        yield child
        if isinstance(child, Definition):
            for outside in (*child.decorator_list, *getattr(child, "bases", ())):
                yield outside
                yield from scope(outside)
        else:
            yield from scope(child)


def asserts_something(tree: ast.Module) -> bool:
    """Whether code that runs holds an assertion: at the top, in test functions and classes, and in what these
    name."""
    definitions: dict[str, list[Definition]] = {}
    for node in ast.walk(tree):
        if isinstance(node, Definition):
            definitions.setdefault(node.name, []).append(node)
    waiting: list[ast.AST] = [tree, *(node for node in tree.body if is_test(node))]
    seen = set(map(id, waiting))
    while waiting:
        for node in scope(waiting.pop()):
            if is_assertion(node) or is_guard(node):
                return True
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                used = definitions.get(node.id, [])
            elif isinstance(node, ast.Attribute):
                used = definitions.get(node.attr, [])
            elif isinstance(node, ast.arg):  # a fixture
                used = definitions.get(node.arg, [])
            else:
                continue
            waiting += [one for one in used if id(one) not in seen]
            seen |= set(map(id, used))
        waiting += _methods(definitions, seen)
    return False


def _methods(definitions: dict[str, list[Definition]], seen: set[int]) -> list[ast.AST]:
    """The methods of classes that are used."""
    classes = [one for every in definitions.values() for one in every if isinstance(one, ast.ClassDef)]
    new = [m for one in classes if id(one) in seen for m in one.body if id(m) not in seen]
    seen |= set(map(id, new))
    return [method for method in new if isinstance(method, ast.FunctionDef)]


def is_test(node: ast.AST) -> bool:
    """A function or class that pytest or unittest would run; one that is async is not run here."""
    if isinstance(node, ast.ClassDef):
        return node.name.startswith("Test") or any("TestCase" in ast.unparse(base) for base in node.bases)
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test")


def expects_failures(tree: ast.Module) -> bool:
    """Whether a test marks assertions that should fail."""
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return not names.isdisjoint({"xfail", "expectedFailure"})


def needs_one_process(tree: ast.Module) -> str:
    """What a test does to the program that only works within one process; nothing if it does not. The tests'
    process holds no model code, so each program would fail."""
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "unittest.mock":
            if any(alias.name == "patch" for alias in node.names):
                return "it patches functions of the program (unittest.mock.patch)"
        elif isinstance(node, ast.Attribute) and ast.unparse(node).endswith("mock.patch"):
            return "it patches functions of the program (unittest.mock.patch)"
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if (target := ast.unparse(node)) in ("sys.stdin", "builtins.input"):
                return f"it replaces {target}, which the program does not see"
            if target == "sys.stdout" and "getvalue" in attributes:
                return "it reads what the program prints"
        elif name_called(node) in ("redirect_stdout", "StringIO") and "getvalue" in attributes:
            return "it reads what the program prints"
    return ""
