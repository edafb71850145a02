"""What a process of the sandbox does after it is isolated: run a script, serve a solution, or run a test."""

import ast
import builtins
import json
import os
import sys
import types
from importlib import import_module
from typing import Any

from menon.sandbox.remote import Caller, Solution
from menon.sandbox.testing import judge
from menon.sandbox.wire import Closed, Line

LONGEST_ANSWER = 4 << 20
"""Bytes of one answer of model code."""
LONGEST_QUESTION = 64 << 20

STARTER = ("collections", "functools", "heapq", "itertools", "math", "bisect")
"""Libraries whose names a class `Solution` may use without importing them, as on LeetCode."""

OUT, CHANNEL, CODE, READY = 1, 3, 4, 5
"""Descriptors: for a test's outcome, for the conversation, for the code to run, and for a last signal before
model code runs."""


def module(name: str) -> dict[str, Any]:
    """Replaces the program that started this process by an empty module; returns its names, those that
    `python solution.py` begins with."""
    fresh = types.ModuleType(name)
    sys.modules[name] = fresh
    sys.argv = ["solution.py"]
    folder = os.getcwd()
    sys.path.insert(0, folder)
    names = fresh.__dict__
    names.update(__builtins__=builtins, __file__=os.path.join(folder, "solution.py"), __cached__=None)
    return names


def standard_streams() -> None:
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def seed() -> None:
    """Fixes the random seeds, so that programs without a seed of their own draw the same numbers in every
    run."""
    import random

    random.seed(0)


def script(echo: bool = False) -> None:
    """Runs a program as `python solution.py` would; its exit code and what it prints are its answer. `echo`:
    prints the value of a last expression, as a notebook does."""
    os.close(CHANNEL)
    code = read_all(CODE)
    names = module("__main__")
    names["__annotations__"] = {}
    seed()
    status = 0
    try:
        for compiled in echoing(code) if echo else [compile(code, "solution.py", "exec", dont_inherit=True)]:
            exec(compiled, names)
    except SystemExit as end:
        status = exit_code(end.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    finish(names, status)


def notebook() -> None:
    script(echo=True)


def echoing(code: bytes) -> list[types.CodeType]:
    """A program in two parts, the second of which prints the value of its last expression, unless that is
    None or a semicolon follows."""
    tree = ast.parse(code, "solution.py")
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or code.rstrip().endswith(b";"):
        return [compile(code, "solution.py", "exec", dont_inherit=True)]
    before = ast.Module(tree.body[:-1], tree.type_ignores)
    shown = ast.Interactive([last])
    return [
        compile(before, "solution.py", "exec", dont_inherit=True),
        compile(shown, "solution.py", "single", dont_inherit=True),
    ]


def exit_code(code: Any) -> int:
    """The exit code of a process after `sys.exit(code)`."""
    if code is None or isinstance(code, int):
        return (code or 0) & 255
    print(code, file=sys.stderr)
    return 1


def finish(names: dict[str, Any], status: int) -> None:
    """Ends the process as an interpreter does (threads, exit functions, files), but without destroying its
    objects, which would take longer than most runs."""
    import atexit
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        names.clear()
        sys.__stdout__.flush()  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError) as error:
        print(repr(error), file=sys.__stderr__)
        status = status or 120
    os._exit(status)


def solution() -> None:
    """Runs a module and answers calls of its functions."""
    code = read_all(CODE)
    names = module("solution")
    seed()
    add_starter_names(code, names)
    server = Solution(Line(CHANNEL, LONGEST_QUESTION), names, os.environ["HOME"])
    try:
        exec(compile(code, "solution.py", "exec", dont_inherit=True), names)
    except BaseException as error:
        server.failed = described(error)
    try:
        server.serve()
    except Closed:
        os._exit(0)


def described(error: BaseException) -> str:
    """The error of a program that could not be loaded, for the reason of its verdict."""
    try:
        return f"{type(error).__name__}: {error}"[:300].removesuffix(": ")
    except BaseException:
        return type(error).__name__


class ListNode:
    """An element of a linked list, as LeetCode's starter code describes it."""

    def __init__(self, val: Any = 0, next: Any = None) -> None:
        self.val, self.next = val, next


class TreeNode:
    """A node of a binary tree, as LeetCode's starter code describes it."""

    def __init__(self, val: Any = 0, left: Any = None, right: Any = None) -> None:
        self.val, self.left, self.right = val, left, right


def add_starter_names(code: bytes, names: dict[str, Any]) -> None:
    """Adds what a task's starter code uses without importing or defining it. To the built-in names, where a
    test does not find them: the names of typing, and for a class `Solution` the libraries that LeetCode has
    imported. To the module's, for a class `Solution`: the nodes of lists and trees."""
    of_leetcode = b"class Solution" in code
    libraries = ["typing", *(STARTER if of_leetcode else ())]
    if of_leetcode:
        names.update(ListNode=ListNode, TreeNode=TreeNode)
    for name in libraries:
        library = import_module(name)
        vars(builtins).setdefault(name, library)
        for part in getattr(library, "__all__", None) or (n for n in vars(library) if n[0] != "_"):
            vars(builtins).setdefault(part, getattr(library, part))


def test() -> None:
    """Runs a test and writes its outcome: {"passed": bool, "why": text, "fault": whether the test itself is
    broken}."""
    asked = json.loads(read_all(CODE))
    outcome_file = os.dup(OUT)
    os.dup2(2, OUT)  # what the test prints is no outcome
    home = os.environ["HOME"]
    theirs = os.path.join(os.path.dirname(home), "solution")
    caller = Caller(Line(CHANNEL, LONGEST_ANSWER, (home, theirs)), home)
    outcome = judge(asked, caller)
    os.write(outcome_file, json.dumps(outcome).encode())
    os._exit(0)


def read_all(descriptor: int) -> bytes:
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    return data


ROLES = {"script": script, "notebook": notebook, "solution": solution, "test": test}
