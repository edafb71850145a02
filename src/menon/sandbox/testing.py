"""Runs a test in the process that holds it, and says what came of it."""

import ast
import re
import sys
import types
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from menon.sandbox.assertions import (
    TALLY,
    Tally,
    asserts_something,
    counted,
    expects_failures,
    is_guard,
    needs_one_process,
    scope,
)
from menon.sandbox.collect import FILE, call_tests
from menon.sandbox.names import BUILTIN, first_call, free_names, library_names
from menon.sandbox.pytest_names import Unusable
from menon.sandbox.pytest_names import module as pytest_module
from menon.sandbox.remote import Caller
from menon.sandbox.wire import Closed, Malformed, Unsendable

PROGRAM = re.compile(
    r"(?:(?:your|my|the|student|user)_?)?"
    r"(?:solutions?|module|main|submission|program|code|answer|implementation|script|candidate)(?:_?(?:file|module))?",
    re.IGNORECASE,
)
"""Module names that stand for the program in tests that import it, where there is no such module here."""


def judge(asked: dict[str, str], caller: Caller) -> dict[str, Any]:
    """The outcome of a test: {"passed": bool, "fault": whether the test itself is to blame, "why": text}.

    `asked`: the `test`, perhaps the `entry` point, and trusted `helpers` that win over the solution's own.
    The module runs as `__main__`; then its test functions and classes are called. A test that has no
    assertion, or never uses the program, is at fault; what decides so does not depend on the program.
    """
    try:
        space, wanted, compiled = prepare(asked, caller)
    except (Exception, Unusable) as error:
        kind = "" if isinstance(error, Unusable) else f"{type(error).__name__}: "
        return {"passed": False, "fault": True, "why": f"{kind}{error}"}
    tally: Tally = space[TALLY]
    try:
        for name in wanted:
            space[name] = caller.ask("find", wanted[name])
        run(compiled, space)
        call_tests(space, tally)
    except Unusable as error:
        return {"passed": False, "fault": True, "why": str(error)}
    except (Closed, Malformed) as error:
        return {"passed": False, "fault": False, "why": caller.broken or str(error)}
    except ImportError as error:
        return {"passed": False, "fault": not caller.raised, "why": f"{type(error).__name__}: {error}"}
    except Unsendable as error:  # what the program has said may have chosen what is passed
        return {"passed": False, "fault": not caller.used, "why": f"{type(error).__name__}: {error}"}
    except BaseException as error:
        why = caller.raised[0] if caller.raised else type(error).__name__
        return {"passed": False, "fault": False, "why": f"{why}: {str(error)[:300]}".removesuffix(": ")}
    if not caller.broken and not caller.used:
        return {"passed": False, "fault": True, "why": "it never uses the program"}
    why = caller.broken
    if not why and not (tally.made or tally.guarded):
        why = "no assertion was reached"
    if not why and tally.failed:
        why = "an assertion failed, and the test went on"
    return {"passed": not why, "fault": False, "why": why}


def prepare(asked: dict[str, str], caller: Caller) -> tuple[dict[str, Any], dict[str, str], types.CodeType]:
    """The names that the test starts with, those to be found in the program (name -> its name there), and the
    compiled test. Any exception: the test is broken."""
    code, entry = asked["test"], asked.get("entry", "")
    tree = ast.parse(code, FILE)
    if not asserts_something(tree):
        raise Unusable("it asserts nothing, so every program would pass")
    if why := needs_one_process(tree):
        raise Unusable(why)
    names = free_names(code)
    tally = Tally(expects_failures(tree))
    tally.guarded = any(map(is_guard, scope(tree)))
    space: dict[str, Any] = {"__name__": "__main__", TALLY: tally}
    exec(compile(asked.get("helpers", ""), "helpers", "exec", dont_inherit=True), space)
    for name, (library, part) in library_names(code, names, entry).items():
        space.setdefault(name, getattr(import_module(library), part) if part else import_module(library))
    imports = replace_modules(tree, entry, caller)
    wanted = {name for name in names if name not in space or name == entry}
    if undefined := sorted(name for name in wanted if name.startswith("assert")):
        raise Unusable(f"it uses {undefined[0]}, which it does not define")
    takes_entry = any(isinstance(node, ast.arg) and node.arg == "candidate" for node in ast.walk(tree))
    if not wanted and not imports and (called := first_call(code)) in BUILTIN:
        wanted = {called}
    if not wanted and not imports and not (entry and takes_entry):
        raise Unusable("it never uses the program")
    found = {name: entry if entry and name == "candidate" else name for name in sorted(wanted)}
    if entry and takes_entry:
        found["candidate"] = entry
    return space, found, compile(counted(tree), FILE, "exec", dont_inherit=True)


def run(compiled: types.CodeType, space: dict[str, Any]) -> None:
    """Runs the module; an exit with success is its end."""
    try:
        exec(compiled, space)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise


def replace_modules(tree: ast.Module, entry: str, caller: Caller) -> bool:
    """Puts something else in the place of some modules that a test imports: pytest, unittest's `main`, and
    the module that stands for the program. Returns whether it imports the program."""
    program = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            every = [(alias.name, set[str]()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            node.level = 0  # a test has no package of its own
            every = [(node.module or "", {alias.name for alias in node.names})]
        else:
            continue
        for name, parts in every:
            if name == "pytest":
                sys.modules[name] = pytest_module()
            elif name.partition(".")[0] == "unittest":
                import_module("unittest").main = lambda *arguments, **named: None  # type: ignore[attr-defined]
            elif is_program(name, parts, entry):
                add_module(name, Program(name, caller))
                program = True
    return program


def add_module(name: str, module: types.ModuleType) -> None:
    """Makes a module importable, within packages that hold nothing else."""
    sys.modules[name] = module
    package, _, own = name.rpartition(".")
    if package:
        parent = types.ModuleType(package)
        parent.__dict__.update({"__path__": [], own: module})
        add_module(package, parent)


def is_program(name: str, parts: set[str], entry: str) -> bool:
    """Whether an imported module stands for the program."""
    if name in ("solution", "__main__"):
        return True
    package = name.partition(".")[0]
    if not name or package in sys.stdlib_module_names or find_spec(package) is not None:
        return False
    return PROGRAM.fullmatch(name.rpartition(".")[2]) is not None or (entry != "" and entry in parts)


class Program(types.ModuleType):
    """The program as a module that tests import."""

    def __init__(self, name: str, caller: Caller) -> None:
        super().__init__(name)
        self.__dict__["_caller"] = caller

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self.__dict__["_caller"].ask("find", name)
        except NameError as error:
            raise AttributeError(str(error)) from None
