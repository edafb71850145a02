"""What a process of the sandbox does after it is isolated: run a script, serve a solution, or run a test."""

import json
import os
import sys
import types
from importlib import import_module
from typing import Any

from menon.sandbox.names import BUILTIN, first_call, free_names, library_names
from menon.sandbox.remote import Caller, Solution
from menon.sandbox.wire import Closed, Line, Malformed, Unsendable

LONGEST_ANSWER = 4 << 20
"""Bytes of one answer of model code."""
LONGEST_QUESTION = 64 << 20

OUT, CHANNEL, CODE, READY = 1, 3, 4, 5
"""Descriptors: for a test's outcome, for the conversation, for the code to run, and for a last signal before
model code runs."""


def module(name: str) -> dict[str, Any]:
    """Replaces the program that started this process by an empty module; returns its names."""
    fresh = types.ModuleType(name)
    sys.modules[name] = fresh
    sys.argv = ["solution.py"]
    return fresh.__dict__


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


def script() -> None:
    """Runs a program as `python solution.py` would; its exit code and what it prints are its answer."""
    os.close(CHANNEL)
    code = read_all(CODE)
    names = module("__main__")
    seed()
    status = 0
    try:
        exec(compile(code, "solution.py", "exec", dont_inherit=True), names)
    except SystemExit as end:
        status = exit_code(end.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    finish(names, status)


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
    line = Line(CHANNEL, LONGEST_QUESTION)
    exec(compile(code, "solution.py", "exec", dont_inherit=True), names)
    try:
        Solution(line, names).serve()
    except Closed:
        os._exit(0)


def test() -> None:
    """Runs a test and writes its outcome: {"passed": bool, "why": text, "fault": whether the test itself is
    broken}."""
    asked = json.loads(read_all(CODE))
    outcome_file = os.dup(OUT)
    os.dup2(2, OUT)  # what the test prints is no outcome
    caller = Caller(Line(CHANNEL, LONGEST_ANSWER))
    outcome = judge(asked, caller)
    os.write(outcome_file, json.dumps(outcome).encode())
    os._exit(0)


def judge(asked: dict[str, str], caller: Caller) -> dict[str, Any]:
    """`asked`: the `test`, perhaps the `entry` point, and trusted `helpers` that win over the solution's
    own."""
    code = asked["test"]
    try:
        names = free_names(code)
        compiled = compile(code, "test", "exec", dont_inherit=True)
        space: dict[str, Any] = {"__name__": "test"}
        exec(compile(asked.get("helpers", ""), "helpers", "exec", dont_inherit=True), space)
        entry = asked.get("entry", "")
        for name, (library, part) in library_names(code, names, entry).items():
            space.setdefault(name, getattr(import_module(library), part) if part else import_module(library))
    except Exception as error:
        return {"passed": False, "fault": True, "why": f"{type(error).__name__}: {error}"}
    wanted = {name for name in names if name not in space} | ({entry} if entry else set())
    if not wanted and (called := first_call(code)) in BUILTIN:
        wanted = {called}
    try:
        for name in sorted(wanted):
            space[name] = caller.ask("find", entry if entry and name == "candidate" else name)
        exec(compiled, space)
    except (Closed, Malformed) as error:
        return {"passed": False, "fault": False, "why": str(error)}
    except (ImportError, Unsendable) as error:
        return {"passed": False, "fault": not caller.raised, "why": f"{type(error).__name__}: {error}"}
    except BaseException as error:
        why = caller.raised[0] if caller.raised else type(error).__name__
        return {"passed": False, "fault": False, "why": f"{why}: {str(error)[:300]}"}
    return {"passed": not caller.broken, "fault": False, "why": caller.broken}


def read_all(descriptor: int) -> bytes:
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    return data


ROLES = {"script": script, "solution": solution, "test": test}
