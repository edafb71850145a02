"""Random mutations of hostile programs through the sandbox: none may pass, get out, leave anything, overstay,
or take the verdict away.

    python scripts/hostile.py 2000 [--seed 0] [--cases tests/sandbox/kinds.jsonl]

`--cases` gives programs to mutate (fields as in docs/sandbox.md). What a test expects is drawn at random and
never enters the program's process, so that each pass is a breach, whatever a mutation has made of a program.
Every breach is printed with its program, and the last line counts: `N passed, N failed`. Exit code 0 means
that none failed.
"""

import argparse
import ast
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from menon.cli.check_code import watching
from menon.reward.code.suite import Check, InputOutput, Suite
from menon.reward.code.tests import BrokenTest, CodeTests
from menon.sandbox.launch import SandboxError

CASES = Path(__file__).parents[1] / "tests" / "sandbox" / "kinds.jsonl"
TIME_S, WALL_S = 0.5, 3.0
LATE_S = 20.0
"""Seconds after which a verdict is late even on a busy machine."""
HONEST_EVERY = 25
"""After so many programs an honest one must still pass."""

REACHES = (
    "open('/etc/passwd')",
    "os.listdir('/')",
    "os.listdir('..')",
    "os.listdir('/proc/self/task')",
    "open('../menon_breach', 'w')",
    "open('/tmp/menon_breach', 'w')",
    "open('/dev/shm/menon_breach', 'w')",
    "os.link(os.__file__, 'l')",
    "os.open(os.__file__, os.O_RDWR)",
    "os.rename('.', '../menon_breach')",
    "os.chmod('.', 0o777)",
    "os.utime('.', (1, 1))",
    "socket.socket()",
    "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "socket.send_fds(socket.socketpair()[0], [b'x'], [0])",
    "os.fork() or os._exit(0)",
    "os.execv('/bin/true', ['true'])",
    "os.kill(os.getppid(), 0)",
    "os.kill(-1, 0)",
    "os.kill(os.getpid(), 9)",
    "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)",
    "os.setsid()",
    "os.memfd_create('x')",
    "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "resource.setrlimit(resource.RLIMIT_CPU, (1, 1))",
    "fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid())",
    "called(c.unshare(0x10000000))",
    "called(c.ptrace(16, os.getppid(), 0, 0))",
    "called(c.mount(b'x', b'.', b'tmpfs', 0, None))",
    "called(c.fallocate(os.open('g', 66), 1, ctypes.c_long(0), ctypes.c_long(1 << 27)))",
    "called(c.syscall(436, 900, 901, 2))",
    "called(c.syscall(250, 0, -3, 1))",
    "called(c.syscall(425, 1, 0))",
    "called(c.syscall(0x40000000 | 39))",
)
"""What must raise; the call of another numbering is answered with EPERM."""

REACH = """
import ctypes, fcntl, os, resource, signal, socket
c = ctypes.CDLL(None, use_errno=True)
def called(got):
    if got == -1: raise OSError(ctypes.get_errno(), "refused")
def got_through():
    try: {do}
    except (OSError, ValueError): return False
    return True
"""

FORGERIES = (
    "import os\nos.write(3, {message!r} * 5)\ndef f(*a): return 0",
    "import os\ndef f(*a):\n    os.write(3, {message!r})\n    return 0",
    "import os, threading\ndef send():\n    for _ in range(99): os.write(3, {message!r})\n"
    "threading.Thread(target=send, daemon=True).start()\ndef f(*a): return 0",
    "import menon.sandbox.wire as w\nw.encode = lambda *a: True\ndef f(*a): return 0",
    "import menon.sandbox.remote as r\nr.changes = lambda *a: [[0, {{'set': [[]]}}]]\ndef f(*a): return 0",
    "import menon.sandbox.remote as r\nr.OPERATIONS.clear()\ndef f(*a): return 0",
    "import menon.sandbox.handover as h\nh.is_inside = lambda p: True\n"
    "h.Folder.changes = lambda s, n=None: [{{'file': '../test/expected.txt', 'data': 'MA=='}}]\n"
    "def f(*a): return 0",
    "import gc, types\ndef f(*a):\n    for o in gc.get_objects():\n"
    "        if isinstance(o, dict) and 'expected' in o: return o['expected']",
    "import os\ndef f(*a):\n    for top in ('.', '..', os.environ['HOME']):\n"
    "        for folder, _, names in os.walk(top):\n            for n in names:\n"
    "                try: return int(open(os.path.join(folder, n)).read())\n"
    "                except (OSError, ValueError): pass",
    "class E(int):\n    __eq__ = __lt__ = __gt__ = __le__ = lambda *a: True\n    __hash__ = int.__hash__\n"
    "def f(*a): return E()",
    "class O:\n    __len__ = __int__ = __index__ = lambda s: 7\n    __eq__ = lambda *a: True\n"
    "    def __getattr__(s, n): return s\n    def __iter__(s): return s\n    def __next__(s): raise {error}\n"
    "    def __call__(s, *a): raise {error}\ndef f(*a): return O()",
    "def f(*a):\n    for g in a:\n        try: g({value})\n        except BaseException: pass\n"
    "    raise {error}",
)
ERRORS = (
    "StopIteration",
    "StopAsyncIteration",
    "GeneratorExit",
    "SystemExit(0)",
    "KeyboardInterrupt",
    "ImportError('numpy')",
    "AttributeError",
    "IndexError",
    "AssertionError",
    "MemoryError",
    "RecursionError",
    "type('Stop', (StopIteration,), {})",
)
VALUES = (
    "0",
    "-1",
    "'a'",
    "None",
    "[]",
    "{}",
    "1e400",
    "float('nan')",
    "10**5000",
    "object()",
    "'x' * 10**6",
    "f",
)
MESSAGES = (
    b'{"result": true, "changed": []}\n',
    b'{"result": {"thing": 0}, "changed": [[0, []]]}\n',
    b'{"raised": ["StopIteration"], "text": "", "number": 0}\n',
    b'{"raised": 5}\n',
    b'{"function": 0, "arguments": [{"thing": 0}]}\n',
    b'{"function": [], "arguments": 1, "keywords": 2}\n',
    b'{"file": "../test/expected.txt", "data": "MA=="}\n',
    b'{"file": "expected.txt", "begins": true, "data": "MA=="}\n',
    b'{"file": "expected.txt", "gone": true}\n',
    b'{"file": 5}\n',
    b'{"failed": null}\n',
    b'{"do": "find", "arguments": ["f"]}\n',
    b'{"passed": true, "fault": true, "why": ""}\n',
    b"[" * 4000 + b"\n",
    b"x" * 70000,
)

TESTS = (
    "assert f(1) == {secret}",
    "assert all(map(lambda c: f(c) == {secret} + c, [1, 2, 3]))",
    "assert sum(map(lambda c: f(c) != {secret} + c, [1, 2])) == 0 and f(1)",
    "for x in f(1):\n    assert x == {secret}",
    "assert {secret} in f(1)",
    "assert len(f(1)) == {secret}",
    "assert str(f(1)) == '{secret}'",
    "import math\nassert math.isclose(f(1), {secret})",
    "import pytest\ndef test_a():\n    assert f(1) == pytest.approx({secret})",
    "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n"
    "        self.assertEqual(f(1), {secret})",
    "import re\nassert f(lambda s: re.match('a', s)) == {secret}",
    "import sys\nassert f(lambda n: sys.exit(0)) == {secret}",
    "class Box: pass\nassert f(lambda *a: Box()) == {secret}",
    "assert f(lambda n: __import__(str(n))) == {secret}",
    "import pytest\ndef test_a():\n    assert f(lambda n: pytest.skip('x')) == {secret}",
    "assert f(lambda n: [n.v, len(n), list(n), str(n)]) == {secret}",
    "open('expected.txt', 'w').write('{secret}')\nopen('in.txt', 'w').write('1')\n"
    "assert f('in.txt') == int(open('expected.txt').read()) == {secret}",
    "import os, tempfile\nd = tempfile.mkdtemp()\nopen(d + '/e', 'w').write('{secret}')\n"
    "assert f(d + '/out') == {secret} or open(d + '/out').read() == '{secret}'",
)

Mutation = Callable[[str, random.Random, list[str]], str]


def drop(code: str, draw: random.Random, others: list[str]) -> str:
    lines = code.split("\n")
    del lines[draw.randrange(len(lines))]
    return "\n".join(lines)


def double(code: str, draw: random.Random, others: list[str]) -> str:
    lines = code.split("\n")
    at = draw.randrange(len(lines))
    return "\n".join([*lines[:at], lines[at], *lines[at:]])


def swap(code: str, draw: random.Random, others: list[str]) -> str:
    lines = code.split("\n")
    one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return "\n".join(lines)


def splice(code: str, draw: random.Random, others: list[str]) -> str:
    parts = [code, draw.choice(others)]
    draw.shuffle(parts)
    return "\n".join(parts)


def number(code: str, draw: random.Random, others: list[str]) -> str:
    """Another number in the place of one."""
    tree = ast.parse(code)
    numbers = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and type(n.value) is int]
    if numbers:
        draw.choice(numbers).value = draw.choice((-1, 0, 1, 2, 7, 64, 4096, 1 << 31, 1 << 63))
    return ast.unparse(tree)


def error(code: str, draw: random.Random, others: list[str]) -> str:
    return code.replace("raise StopIteration", f"raise {draw.choice(ERRORS)}")


def shape(code: str, draw: random.Random, others: list[str]) -> str:
    """The same program somewhere else: in a thread, at exit, many times, with everything swallowed."""
    inner = "\n".join("    " + line for line in code.split("\n"))
    names = ", ".join(n.name for n in ast.parse(code).body if isinstance(n, ast.FunctionDef | ast.ClassDef))
    shared = f"    global {names}\n" if names else ""
    body = f"def whole():\n{shared}{inner}\n    return 0\n"
    return body + draw.choice(
        (
            "import threading\nfor _ in range(3): threading.Thread(target=whole).start()",
            "import atexit\natexit.register(whole)\ndef f(*a): return whole()",
            "for _ in range(20):\n    try: whole()\n    except BaseException: pass",
            "class D:\n    def __del__(self): whole()\nd = D()\ndel d",
            "import signal\nsignal.signal(signal.SIGALRM, lambda *a: whole())\nsignal.setitimer(0, .01)\n"
            "import time; time.sleep(.05)",
            "def f(*a): return whole()",
        )
    )


MUTATIONS: tuple[Mutation, ...] = (drop, double, swap, splice, number, error, shape)


def mutant(code: str, draw: random.Random, others: list[str]) -> str:
    """A program after one to three mutations; those that leave no Python are mostly tried again."""
    for _ in range(draw.randint(1, 3)):
        for _ in range(8):
            try:
                mutated = draw.choice(MUTATIONS)(code, draw, others)
                ast.parse(mutated)
            except (SyntaxError, ValueError, RecursionError):
                continue
            code = mutated
            break
    return code


def attempts(draw: random.Random, programs: list[str]) -> Iterator[tuple[str, Suite]]:
    """Mutated programs, each with a test that it cannot pass."""
    while True:
        secret = str(draw.randrange(10**11, 10**12))
        kind = draw.random()
        if kind < 0.25:  # says so only if it has reached what it must not
            before = mutant(draw.choice(programs), draw, programs) if draw.random() < 0.5 else ""
            reach = REACH.format(do=draw.choice(REACHES)) + f"if got_through(): print({secret!r})"
            reach = shape(reach, draw, []) if draw.random() < 0.5 else reach
            yield f"{before}\n{reach}", Suite((InputOutput("1 2\n", secret),))
            continue
        if kind < 0.65:
            program = draw.choice(FORGERIES).format(
                message=draw.choice(MESSAGES), error=draw.choice(ERRORS), value=draw.choice(VALUES)
            )
        else:
            program = draw.choice(programs)
        program = mutant(program, draw, programs)
        if draw.random() < 0.25:
            yield program, Suite((InputOutput("1 2\n", secret),))
        else:
            yield program, Suite((Check(draw.choice(TESTS).format(secret=secret)),), "f")


def breach(reward: CodeTests, program: str, suite: Suite) -> str:
    """What a program got away with; nothing if all is well."""
    escapes: list[str] = []
    began = time.monotonic()
    with watching({"solution": program}, reward.sandbox, escapes):
        try:
            outcome = reward.run(program, suite).outcome
        except (BrokenTest, SandboxError) as error:
            outcome = f"no verdict ({error})"
    if outcome == "pass" or outcome.startswith("no verdict"):
        escapes.append(outcome)
    if time.monotonic() - began > LATE_S:
        escapes.append(f"took {time.monotonic() - began:.1f} s")
    return "; ".join(escapes)


def honest(reward: CodeTests) -> str:
    """What is wrong with the verdicts about right programs; nothing if all is well."""
    add = Suite((Check("assert f(lambda n: n + 1) == [2, 3]"),), "f")
    said = [
        reward.run("print(sum(map(int, input().split())))", Suite((InputOutput("1 2\n", "3\n"),))),
        reward.run("import os\ndef f(g): return [g(1), g(2)] + os.listdir('.')", add),
    ]
    return "; ".join(f"an honest program: {run.outcome} ({run.why})" for run in said if run.outcome != "pass")


def programs_of(path: Path) -> list[str]:
    """The hostile programs of a file of cases, without the honest ones."""
    cases = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [case["solution"] for case in cases if case.get("hostile", True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=Path, default=CASES)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    reward = CodeTests(time_s=TIME_S, wall_s=WALL_S)
    failed = 0
    made = attempts(draw, programs_of(given.cases))
    for place in range(given.count):
        program, suite = next(made)
        why = breach(reward, program, suite)
        if not why and place % HONEST_EVERY == HONEST_EVERY - 1:
            why = honest(CodeTests())
        if why:
            failed += 1
            print(f"{place}: {why}\n{program}\n{suite.cases[0]}\n", flush=True)
    print(f"{given.count - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
