"""Memory of a run's processes."""

import mmap
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import psutil
import pytest

from menon.record import memory as record
from menon.record.memory import memory

GIB = 2**30
CHILD = """
import mmap, os, sys
of_its_own, shared, forks = (int(word) for word in sys.argv[1:])
held = bytearray(b"x") * of_its_own
if shared:
    seen = mmap.mmap(shared, 0)
    for place in range(0, len(seen), 4096):
        seen[place]
if forks:
    ends, begins = os.pipe()
    if os.fork() == 0:
        held[: forks] = bytes(forks)
        os.write(begins, b".")
        sys.stdin.read()
        os._exit(0)
    os.read(ends, 1)
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def child(of_its_own=0, shared=0, forks=0):
    """A process that holds so many bytes, sees a file's, and has forked one that writes over so many of
    them."""
    words = [str(word) for word in (of_its_own, shared, forks)]
    settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "pass_fds": [shared] if shared else []}
    with subprocess.Popen([sys.executable, "-S", "-c", CHILD, *words], **settings) as process:
        assert process.stdout.readline() == b"ready\n"
        yield
        process.stdin.close()


def test_what_is_allocated_shows() -> None:
    before = memory()["memory/gib"]
    held = np.ones(2**26)  # half a GiB, touched
    assert abs(memory()["memory/gib"] - before - held.nbytes / GIB) < 0.05


def test_what_a_child_holds_shows_while_it_lives():
    before = memory()["memory/gib"]
    with child(of_its_own=2**27):
        assert abs(memory()["memory/gib"] - before - 1 / 8) < 0.03
    assert abs(memory()["memory/gib"] - before) < 0.03


def test_shared_pages_count_once(tmp_path):
    """A quarter of a GiB that this process and two others see."""
    (tmp_path / "weights").write_bytes(bytes(2**28))
    with open(tmp_path / "weights", "r+b") as file, mmap.mmap(file.fileno(), 0) as seen:
        before = memory()["memory/gib"]
        assert sum(seen[place] for place in range(0, len(seen), 4096)) == 0
        with child(shared=file.fileno()), child(shared=file.fileno()):
            assert abs(memory()["memory/gib"] - before - 1 / 4) < 0.06


def test_forked_pages_count_once():
    """The fork sees an eighth of a GiB and has a copy of a quarter of that."""
    before = memory()["memory/gib"]
    with child(of_its_own=2**27, forks=2**25):
        assert abs(memory()["memory/gib"] - before - 1 / 8 - 1 / 32) < 0.025


def test_a_process_that_ended_meanwhile_holds_nothing():
    with subprocess.Popen([sys.executable, "-S", "-c", "pass"]) as process:
        known = psutil.Process(process.pid)
    assert record.own(known) == 0


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere nothing says what is shared without asking"
)
def test_a_fork_that_may_not_be_asked(monkeypatch):
    def refuse(process):
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "memory_full_info", refuse)
    here = psutil.Process()  # not its own child
    held = here.memory_info()
    assert record.own(here) == pytest.approx(held.rss - held.shared, rel=0.05)
