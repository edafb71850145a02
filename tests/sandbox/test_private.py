"""The bound on what a run writes."""

import os
import threading
import time

import pytest

from menon.sandbox.launch import Sandbox, Task
from menon.sandbox.limits import MIB, Limits
from menon.sandbox.private import Private, nameless_bytes

LIMITS = Limits(time_s=4.0, disk_mb=8, files=50, output_mb=4)
GREEDY = b"""
import os, time
fds = []
try:
    while True:
        fds.append(os.open(".", os.O_TMPFILE | os.O_RDWR))
        for _ in range(4): os.write(fds[-1], b"x" * (1 << 20))
except OSError as error:
    print(f"{error}\\n{sum(os.fstat(fd).st_blocks for fd in fds) * 512 >> 20}", flush=True)
time.sleep(.5)
"""


@pytest.fixture
def sandbox(full):
    sandbox = Sandbox(full.layers)
    yield sandbox
    sandbox.close()
    assert not os.path.exists(sandbox.root)


def test_the_kernel_holds_the_bound(sandbox):
    """A look at what there is may end the program before it has filled its directory; not always."""
    outputs = set()
    for _ in range(50):
        finished = sandbox.run([Task("script", GREEDY)], LIMITS)
        if not finished.in_memory:
            pytest.skip("no namespaces here in which the keeper may mount")
        assert finished.why == "disk"
        outputs.add(finished.output)
        if finished.output:
            break
    assert outputs - {b""} == {b"[Errno 28] No space left on device\n9\n"}


def test_each_run_has_its_own_bound(sandbox):
    program = b"import os; found = os.statvfs('.'); print(found.f_blocks >> 8, found.f_files)"
    for limits in (LIMITS, Limits(disk_mb=64, files=2000), Limits(disk_mb=4, files=20), LIMITS):
        finished = sandbox.run([Task("script", program)], limits)
        if not finished.in_memory:
            pytest.skip("no namespaces here in which the keeper may mount")
        assert finished.output.split() == [b"%d" % (limits.disk_mb + 1), b"%d" % (limits.files + 17)]


@pytest.mark.parametrize(
    "left",
    [
        b"open('f', 'w').write('x')",
        b"os.makedirs('a/b/c')",
        b"os.symlink('x', 'l'); os.mkfifo('p')",
        b"open('f', 'w').close(); os.link('f', 'g'); os.unlink('f')",
        b"f = open('f', 'w'); os.unlink('f'); f.write('x'); f.flush(); os._exit(0)",
        b"",
    ],
)
def test_the_next_run_finds_nothing(sandbox, left):
    program = b"import os\nprint(os.listdir('.'), os.statvfs('.').f_bfree)\n"
    for limits in (LIMITS, LIMITS, Limits(time_s=4.0, disk_mb=9)):
        before = sandbox.run([Task("script", program)], limits)
        sandbox.run([Task("script", b"import os\n" + left)], limits)
        after = sandbox.run([Task("script", program)], limits)
        assert after.output.startswith(b"[] ")
        assert after.output == before.output or not after.in_memory
        assert os.listdir(sandbox.root) == []


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (b"for n in range(50): open(f'f{n}', 'w')", "exit"),
        (b"for n in range(51): open(f'f{n}', 'w')", "disk"),
        (b"for n in range(2): open(f'f{n}', 'wb').write(bytes(1 << 22))", "exit"),
        (b"for n in range(3): open(f'f{n}', 'wb').write(bytes(1 << 20) * (1 + 3 * (n < 2)))", "disk"),
    ],
)
def test_what_is_there_at_the_end_counts(sandbox, program, why):
    """However quickly it was written."""
    assert sandbox.run([Task("script", program)], LIMITS).why == why


def test_a_plain_directory_is_measured(tmp_path):
    private = Private(str(tmp_path), in_memory=False)
    private.begin(LIMITS, ["solution", "test"])
    assert not private.is_over([])
    here = private.folders["solution"]
    assert "test" in os.path.basename(private.folders["test"]) != "test"
    for number in range(3):
        with open(os.path.join(here, f"f{number}"), "wb") as file:
            file.write(b"x" * 5 * MIB)
    assert not private.is_over([])  # 8 MB for each of two
    deep = os.open(here, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=deep)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=deep))
    assert not private.is_over([])
    descriptor = os.open("g", os.O_CREAT | os.O_WRONLY, dir_fd=deep)
    os.write(descriptor, b"x" * MIB)  # below a path longer than a path may be
    assert private.is_over([])
    os.close(descriptor)
    os.close(deep)
    private.end()
    assert os.listdir(tmp_path) == []


def test_files_without_a_name_are_counted(tmp_path):
    import mmap

    root = str(tmp_path)
    others = nameless_bytes(os.getpid(), root, 100)  # of whatever runs the tests
    with open(tmp_path / "kept", "wb") as kept, open(tmp_path / "gone", "w+b") as gone:
        kept.write(b"x" * 8192)
        gone.write(b"x" * 8192)
        kept.flush()
        gone.flush()
        assert nameless_bytes(os.getpid(), root, 100) == others
        os.unlink(tmp_path / "gone")
        assert nameless_bytes(os.getpid(), root, 100) == others + 8192
        mapping = mmap.mmap(gone.fileno(), 4096)
    assert nameless_bytes(os.getpid(), root, 100) == others + 8192  # through the descriptor of the mapping
    mapping.close()
    assert nameless_bytes(os.getpid(), root, 100) == others
    assert nameless_bytes(2**22 - 1, root, 100) == 0  # no such process


def test_the_directory_cannot_be_listed_from_within(sandbox):
    program = b"""
import os
for look in (lambda: os.listdir(".."), lambda: os.chmod("..", 0o700), lambda: os.mkdir("../x")):
    try: print(look())
    except OSError: pass
"""
    finished = sandbox.run([Task("script", program)], LIMITS)
    assert (finished.code, finished.output) == (0, b"")


def test_without_other_layers_the_next_run_finds_nothing_either():
    """A program without a filter can write beside its directory."""
    sandbox = Sandbox(())
    program = b"import os; os.chmod('..', 0o700); print(os.listdir('..')); os.mkdir('../kept')"
    for _ in range(2):
        assert sandbox.run([Task("script", program)], LIMITS).output == b"['script']\n"
    sandbox.close()
    assert not os.path.exists(sandbox.root)


def test_memory_comes_back(sandbox):
    """What a run wrote is freed with it, also what was held without a name."""

    def used() -> int:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("Shmem:")) >> 10

    seen = [used()]
    thread = threading.Thread(target=lambda: (time.sleep(0.4), seen.append(used())))
    limits = Limits(time_s=4.0, disk_mb=256, output_mb=64)
    if not sandbox.run([Task("script", b"")], limits).in_memory:
        pytest.skip("no namespaces here in which the keeper may mount")
    thread.start()
    sandbox.run([Task("script", GREEDY)], limits)
    thread.join()
    assert used() < seen[0] + 128
