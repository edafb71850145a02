"""Programs that try to pass without solving the task, or to harm the machine (support/attacks.py). Each is
one test; none may succeed."""

import os
import threading
from pathlib import Path

import pytest

from attacks import FUNCTIONS, SCRIPTS
from menon.reward.code.suite import Check, InputOutput, Suite
from menon.reward.code.tests import CodeTests
from menon.sandbox.watch import descendants


@pytest.fixture
def nothing_left():
    """No process, no file and no private directory more than before."""
    places = [Path.cwd(), Path.home(), Path("/tmp"), Path("/dev/shm")]
    before = set(descendants(()))
    yield
    assert not [place / "escape_marker" for place in places if (place / "escape_marker").exists()]
    assert len(set(descendants(())) - before) <= 1  # a keeper, if it was the first test


@pytest.mark.usefixtures("full", "nothing_left")
@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name):
    run = CodeTests(time_s=1.0, wall_s=5.0).run(SCRIPTS[name], Suite((InputOutput("1 2\n", "3\n"),)))
    assert run.outcome != "pass"
    assert run.passed == 0


@pytest.mark.usefixtures("full", "nothing_left")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    tests = Suite((Check("assert add(1, 2) == 3\nassert abs(add(20, 22) - 42) < 1e-6"),), "add")
    run = CodeTests(time_s=2.0, wall_s=8.0).run(FUNCTIONS[name], tests)
    assert run.outcome != "pass"
    assert run.passed == 0


@pytest.mark.usefixtures("full", "nothing_left")
@pytest.mark.parametrize("name", ["leaves_a_thread", "prints_a_verdict", "defines_check"])
def test_the_same_programs_pass_when_they_are_right(name):
    program = FUNCTIONS[name].replace("return 0", "return a+b").replace("return None", "return 1")
    assert CodeTests().run(program, Suite((Check("assert add(1, 2) == 3"),))).outcome == "pass"


def test_a_broken_test_that_swallows_everything_still_fails_a_dead_program(full):
    test = Check("try:\n    x = add(1, 2)\nexcept BaseException:\n    x = 3\nassert x == 3")
    assert CodeTests().run("import os\ndef add(a,b): os._exit(0)", Suite((test,))).outcome == "fail"


def test_the_environment_is_empty_of_secrets(full, monkeypatch):
    monkeypatch.setenv("FAKE_SECRET_TOKEN", "s3cr3t")
    program = (
        "import os; print('FAKE_SECRET_TOKEN' in os.environ or b's3cr3t' in b''.join(os.environb.values()))"
    )
    assert CodeTests().run(program, Suite((InputOutput("", "False"),))).outcome == "pass"


def test_a_program_that_leaves_right_output_and_a_hang_is_a_timeout(full):
    run = CodeTests(time_s=0.5).run("print(3, flush=True)\nwhile True: pass", Suite((InputOutput("", "3"),)))
    assert run.outcome == "timeout"
    assert 0.4 < run.cpu_seconds < 1.0


def test_memory_is_held(full):
    grow = "x=[]\nwhile True: x.append(bytearray(b'x'*(16<<20)))"
    run = CodeTests(memory_mb=128).run(grow, Suite((InputOutput("", ""),)))
    assert run.outcome == "memory"
    assert 60 < run.memory_mb <= 128


def test_a_program_cannot_see_another_ones_files(full):
    write = CodeTests().run("open('note','w').write('x'); print(1)", Suite((InputOutput("", "1"),)))
    read = CodeTests().run("import os; print(os.listdir('.'))", Suite((InputOutput("", "[]"),)))
    assert (write.outcome, read.outcome) == ("pass", "pass")


def test_runs_at_the_same_time_do_not_mix(full):
    outcomes = []

    def one(number: int) -> None:
        tests = Suite((InputOutput(f"{number}\n", f"{number * number}\n"),))
        outcomes.append(CodeTests().run("n=int(input()); print(n*n)", tests).outcome)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == ["pass"] * 6


def test_a_copy_of_the_grader_starts_sandboxes_of_its_own(full):
    CodeTests().run("print(1)", Suite((InputOutput("", "1"),)))
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            outcome = CodeTests().run("print(2)", Suite((InputOutput("", "2"),))).outcome
            full.close()
            os.write(write, outcome.encode())
        finally:
            os._exit(0)
    os.close(write)
    os.wait()
    assert os.read(read, 99) == b"pass"
    os.close(read)
    assert CodeTests().run("print(1)", Suite((InputOutput("", "1"),))).outcome == "pass"
