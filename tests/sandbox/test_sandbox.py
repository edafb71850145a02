"""Keepers, levels and the reduced sandbox."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import menon
from menon.errors import UserError
from menon.reward.code.tests import CodeTests
from menon.sandbox import layers as module
from menon.sandbox.launch import Finished, Sandbox, SandboxError, Task
from menon.sandbox.layers import LEVELS, Layers, check_level, require
from menon.sandbox.limits import Limits
from menon.sandbox.watch import descendants

QUICK = Limits(time_s=2.0, wall_s=8.0)


@pytest.fixture
def bare():
    """Without the kernel's layers, on any Linux: what is left must still hold."""
    sandbox = Sandbox(())
    yield sandbox
    sandbox.close()
    assert not os.path.exists(sandbox.root)


def run(sandbox: Sandbox, program: str, given: str = "", limits: Limits = QUICK) -> Finished:
    return sandbox.run([Task("script", program.encode(), given.encode())], limits)


def test_a_script_runs_as_python_would_run_it(bare):
    program = """
import atexit, sys, threading, time
atexit.register(lambda: print("exit"))
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
print(__name__, sys.argv, input())
out = open(1, "w")
out.write("unflushed\\n")
"""
    finished = run(bare, program, "grüße\n")
    assert finished.code == 0
    assert sorted(finished.output.decode().splitlines()) == sorted(
        ["__main__ ['solution.py'] grüße", "thread", "exit", "unflushed"]
    )


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("import sys; sys.exit()", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('no')", 1),
        ("1/0", 1),
        ("(", 1),
        ("raise KeyboardInterrupt", 1),
        ("exit()", 0),
        ("quit()\n1/0", 0),
        ("def f():\n    exit('no')\nf()", 1),
        ("quit(7)", 7),
        ("try:\n    input()\nexcept EOFError:\n    quit()", 0),
        ("print(copyright, credits, license, help); help(len)", 0),
        (
            "import os; assert __file__ == os.path.join(os.getcwd(), 'solution.py')",
            0,
        ),
        (
            "assert (__builtins__.len, __cached__, __package__, __spec__) == (len, None, None, None)",
            0,
        ),
        ("open('own.py', 'w').write('x = 1'); import own; assert own.x == 1", 0),
    ],
)
def test_exit_codes(bare, program, code):
    assert run(bare, program).code == code


def test_signals_end_it_however_the_grader_was_started():
    """A shell ignores SIGINT and SIGQUIT for a command in the background, and nohup SIGHUP."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (1, 2, 3)}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        sandbox = Sandbox(())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in before.items():
            signal.signal(number, handler)
    program = "import os, time; os.kill(os.getpid(), {}); time.sleep(.2)"
    assert [run(sandbox, program.format(number)).code for number in (1, 3, 15)] == [-1, -3, -15]
    interrupted = run(sandbox, "import os\ntry: os.kill(os.getpid(), 2)\nexcept KeyboardInterrupt: print(1)")
    assert (interrupted.code, interrupted.output) == (0, b"1\n")
    sandbox.close()


def test_random_numbers_and_hashes_repeat(bare):
    program = "import random; print(random.random(), hash('a'))"
    assert run(bare, program).output == run(bare, program).output


def test_background_processes_are_ended_even_without_a_filter(bare):
    program = """
import os, time
print(1, flush=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
time.sleep(0.1)
"""
    finished = run(bare, program)
    assert finished.output == b"1\n"
    assert finished.left >= 1
    assert descendants([]).count(bare.process.pid) == 1
    assert not [
        pid for pid in descendants([]) if pid != bare.process.pid and _child_of(bare.process.pid, pid)
    ]


def _child_of(parent: int, pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1]) == parent
    except OSError:
        return False


def test_a_fork_bomb_is_ended_even_without_a_filter(bare):
    bomb = "import os, time\nwhile True:\n    if os.fork() == 0:\n        time.sleep(60)\n"
    finished = run(bare, bomb, limits=Limits(time_s=2.0, wall_s=8.0, tasks=20))
    assert finished.why == "tasks"
    assert run(bare, "print(1)").output == b"1\n"


def test_time_waiting_for_a_core_is_not_the_programs(bare):
    """Two programs on one core: each takes twice as long as it computes, and neither is over its limit."""
    import threading

    core = min(os.sched_getaffinity(0))
    program = (
        f"import os, time\nos.sched_setaffinity(0, {{{core}}})\n"
        "while time.process_time() < 0.8: pass\nprint('done')"
    )
    other = Sandbox(())
    results: list[Finished] = []
    limits = Limits(time_s=1.1, wall_s=20.0)
    threads = [
        threading.Thread(target=lambda s=s: results.append(run(s, program, limits=limits)))
        for s in (bare, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert [finished.output for finished in results] == [b"done\n"] * 2
    assert max(finished.seconds for finished in results) > 1.2


def test_a_keeper_that_is_killed_gives_no_verdict_and_leaves_nothing():
    sandbox = Sandbox(())
    os.kill(sandbox.process.pid, signal.SIGKILL)
    with pytest.raises(SandboxError, match="keeper ended"):
        run(sandbox, "print(1)")
    sandbox.close()
    assert not os.path.exists(sandbox.root)


def test_a_keeper_ends_with_its_owner():
    sandbox = Sandbox(())
    sandbox.owner.close()
    assert sandbox.process.wait(10) == 0
    assert not os.path.exists(sandbox.root)


def test_a_missing_layer_is_refused_until_the_smaller_level_is_named(monkeypatch):
    monkeypatch.setattr(module, "layers", lambda: Layers(("process", "limits", "seccomp"), ("landlock",)))
    with pytest.raises(UserError, match=r"lacks landlock here .*Linux 5\.13.*sandbox=without_landlock"):
        require("full")
    with pytest.raises(UserError, match="lacks landlock"):
        require("without_seccomp")
    with pytest.raises(UserError, match="lacks landlock"):
        CodeTests()
    assert require("without_landlock").active == ("process", "limits", "seccomp")
    assert require("limits_only").active == ("process", "limits", "seccomp")


def test_a_layer_that_does_not_hold_is_not_counted(monkeypatch):
    """The kernel says yes and does nothing: found out by trying."""
    monkeypatch.setattr(module, "probe", lambda tried: (set(tried) - {"landlock"}, ()))
    monkeypatch.setattr(module.landlock, "abi", lambda: 7)
    assert module.layers.__wrapped__().active == ("process", "limits", "seccomp")


def test_no_sandbox_at_all_is_one_sentence(monkeypatch):
    def fails(tried):
        raise SandboxError("no fork")

    monkeypatch.setattr(module, "probe", fails)
    with pytest.raises(UserError, match="cannot start here: no fork"):
        module.layers.__wrapped__()


def test_another_system_is_sent_to_a_runner(monkeypatch):
    monkeypatch.setattr(module.sys, "platform", "darwin")
    with pytest.raises(UserError, match="this is darwin; name a runner's URL"):
        module.layers.__wrapped__()


def test_unknown_levels_are_refused():
    with pytest.raises(UserError, match="sandbox is 'none'; it is full, without_landlock"):
        check_level("none")
    assert set(LEVELS["full"]) == {"landlock", "seccomp"}


@pytest.mark.parametrize(("setting", "value"), [("time_s", 0), ("memory_mb", 10), ("tasks", -1)])
def test_limits_are_checked(setting, value):
    with pytest.raises(UserError, match=setting):
        Limits(**{setting: value})


def test_it_works_for_an_ordinary_user(full):
    """All layers, without root: the test drops it where it has it, with the first interpreter that such a
    user may run."""
    folder = str(Path(menon.__file__).parents[1])
    program = """
import os, sys
sys.path.insert(0, sys.argv[1])
from menon.sandbox.layers import layers, pool
from menon.sandbox.launch import Task
from menon.sandbox.limits import Limits
print(os.getuid(), layers())
threads = b"import threading, time\\nthreading.stack_size(32768)\\n"
threads += b"for _ in range(2000): threading.Thread(target=time.sleep, args=(9,)).start()"
print(pool("full").run([Task("script", threads)], Limits(time_s=2.0)).why)
"""
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            version = subprocess.run([python, "-V"], capture_output=True, text=True, cwd="/", env={}, **user)
        except OSError:
            continue
        if version.returncode == 0 and tuple(map(int, version.stdout.split()[1].split(".")[:2])) >= (3, 11):
            break
    else:
        pytest.skip("there is no Python 3.11 that an ordinary user may run")
    said = subprocess.run(
        [python, "-B", "-c", program, folder], capture_output=True, text=True, cwd="/", env={}, **user
    )
    assert said.returncode == 0, said.stderr
    active, why = said.stdout.splitlines()
    assert not active.startswith("0 ")
    assert "limits + landlock + seccomp" in active
    assert why in ("tasks", "exit")  # the watch, or the kernel's own limit before it


def test_a_run_is_cheap(full):
    """A run costs a fork, not the start of an interpreter with its imports; far below a second even on a busy
    machine."""
    full.run([Task("script", b"print(1)")], QUICK)
    began = time.perf_counter()
    cpu = [full.run([Task("script", b"print(1)")], QUICK).cpu_seconds for _ in range(5)]
    assert sorted(cpu)[2] < 0.05
    assert time.perf_counter() - began < 5
