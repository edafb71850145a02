"""How a program ended, told apart: at a limit, by a signal of its own, or killed from outside."""

import os
import signal
import threading
import time

import pytest

from menon.errors import UserError
from menon.reward.code.suite import Check, InputOutput, Suite
from menon.reward.code.tests import CodeTests
from menon.sandbox.launch import SandboxError
from menon.sandbox.layers import pool
from menon.sandbox.watch import descendants

SCRIPT = Suite((InputOutput("", "3"),))
FUNCTION = Suite((Check("assert f(1) == 3"),), "f")


@pytest.fixture(autouse=True)
def full():
    try:
        pool("full")
    except UserError as error:
        pytest.skip(str(error))


def function(program: str) -> str:
    return "def f(x):\n" + "".join(f"    {line}\n" for line in program.split("\n"))


def kill_one(place: int, before: set[int]) -> None:
    """Kills one of the processes of a run, once it has them all."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        keepers = {sandbox.process.pid for sandbox in pool("full").idle}
        running = sorted(set(descendants(())) - before - keepers)
        if len(running) > place:
            time.sleep(0.3)  # until it is closed in and has begun to sleep
            os.kill(running[place], signal.SIGKILL)
            return
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("program", "suite", "place"),
    [
        ("import time\ntime.sleep(5)\nprint(3)", SCRIPT, 0),
        (function("import time\ntime.sleep(5)\nreturn 3"), FUNCTION, 0),
        (function("import time\ntime.sleep(5)\nreturn 3"), FUNCTION, 1),
    ],
    ids=["script", "solution", "test"],
)
def test_a_kill_from_outside_is_no_verdict(program, suite, place):
    assert CodeTests().run("print(3)", SCRIPT).outcome == "pass"  # its keeper is there
    killer = threading.Thread(target=kill_one, args=(place, set(descendants(()))))
    killer.start()
    with pytest.raises(SandboxError, match=r"killed from outside \(SIGKILL\); the kernel does so when"):
        CodeTests(time_s=8).run(program, suite)
    killer.join()
    assert CodeTests().run("print(3)", SCRIPT).outcome == "pass"


@pytest.mark.parametrize(
    ("program", "outcome", "why"),
    [
        ("import os\nos.kill(os.getpid(), 9)", "sandbox", "PermissionError: [Errno 1]"),
        ("import signal\nsignal.raise_signal(9)", "sandbox", "PermissionError: [Errno 1]"),
        ("import resource as r\nr.setrlimit(r.RLIMIT_CPU, (1, 1))", "fail", "ValueError: not allowed"),
        ("import ctypes\nassert ctypes.CDLL(None).timer_create(0, 0, bytes(8)) == 0", "fail", "Assertion"),
        ("import os\nos.kill(os.getpid(), 15)", "fail", "it ended by SIGTERM"),
        ("import ctypes\nctypes.string_at(0)", "fail", "it ended by SIGSEGV"),
        ("import os\nos.abort()", "fail", "SIGABRT, as libraries end that find no memory (memory_mb)"),
        ("import os\nos.write(2, b'std::bad_alloc\\n')\nos.abort()", "memory", "bad_alloc"),
        ("import os\nos.write(2, b'Memory allocation failed')\nos._exit(1)", "memory", "Memory allocation"),
        ("x = bytes(1 << 30)", "memory", "MemoryError"),
    ],
)  # fmt: skip
def test_a_program_that_ends_itself_has_failed(program, outcome, why):
    """Never without a verdict, which would leave its answer out of the loss."""
    for run in (CodeTests().run(program, SCRIPT), CodeTests().run(function(program), FUNCTION)):
        assert run.outcome == outcome
        assert why in run.why


def test_a_failed_start_of_a_library_is_the_memory():
    """numpy needs more address space than 72 MB."""
    pytest.importorskip("numpy")
    for program, suite in (("import numpy", SCRIPT), (function("import numpy\nreturn 3"), FUNCTION)):
        run = CodeTests(memory_mb=72).run(program, suite)
        assert run.outcome == "memory", run
        assert "emory" in run.why
