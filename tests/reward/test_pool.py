import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from menon.errors import UserError
from menon.reward import pool
from menon.reward.pool import Broken, Costly, Pool


@pytest.fixture
def two():
    two = Pool("pool_functions:act", workers=2, seconds=0.2)
    yield two
    two.close()


def spin(asked):
    with pytest.raises(Costly):
        asked.ask("spin")


def children():
    return psutil.Process().children(recursive=True)


def test_a_call_gets_its_own_reply_from_whatever_thread(two):
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda place: two.ask("echo", place), range(200))) == list(range(200))


@pytest.mark.parametrize("what", ["spin", "power", "eat", "deep", "leave", "crash"])
def test_a_call_over_its_limits_is_its_own_fault_and_the_next_one_is_served(two, what):
    assert two.ask("echo", 1) == 1
    began = time.perf_counter()
    with pytest.raises(Costly):
        two.ask(what)
    assert time.perf_counter() - began < 8  # 0.2 s of CPU time, however busy the machine is
    assert [two.ask("echo", place) for place in range(5)] == list(range(5))


def test_another_failure_is_broken(two):
    with pytest.raises(Broken, match=r"ValueError: as asked \(pool_functions.py"):
        two.ask("raise")
    assert two.ask("echo", 1) == 1


def test_a_result_that_cannot_be_sent_is_broken(two):
    with pytest.raises(Broken, match="TypeError: Object of type object is not JSON serializable"):
        two.ask("object")
    assert two.ask("echo", 1) == 1


def test_a_function_that_cannot_be_imported_is_named():
    missing = Pool("pool_functions:missing")
    for _ in range(3):
        with pytest.raises(Broken, match="pool_functions holds no 'missing'"):
            missing.ask("echo")
    missing.close()


def test_a_call_killed_from_outside_is_tried_once_more(two):
    with pytest.raises(Broken, match="a worker was killed from outside"):
        two.ask("killed")
    assert two.ask("echo", 1) == 1


def test_the_limit_is_cpu_time_and_waiting_has_one_of_its_own(two, monkeypatch):
    assert two.ask("nap", 0.6) is None
    monkeypatch.setattr(pool, "PATIENCE", 2)
    with pytest.raises(Broken, match="no time for the call"):
        two.ask("nap", 30)
    assert [two.ask("echo", place) for place in range(4)] == [0, 1, 2, 3]


def test_a_costly_call_leaves_the_other_worker_to_the_others(two):
    two.ask("echo")
    thread = threading.Thread(target=spin, args=(two,))
    thread.start()
    served = 0
    while thread.is_alive():
        served += two.ask("echo", 1)
    assert served > 20


def test_it_survives_the_death_of_all_its_processes(two):
    assert two.ask("echo", 1) == 1
    forkserver = psutil.Process(two.forkserver.server.pid)
    for process in [*forkserver.children(), forkserver]:
        process.kill()
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda place: two.ask("echo", place), range(20))) == list(range(20))


def test_closing_leaves_no_process_and_no_file(two):
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    others = set(children())
    other = Pool("pool_functions:act", seconds=0.2)
    with pytest.raises(Costly):
        other.ask("spin")
    assert [other.ask("echo", place) for place in range(2)] == [0, 1]  # a worker starts when it is its turn
    assert len(set(children()) - others) == 3
    other.close()
    assert set(children()) <= others
    assert not files or len(os.listdir("/proc/self/fd")) == files
    assert other.ask("echo", 2) == 2  # and it starts again where it is asked again
    other.close()


def test_a_fork_gets_workers_of_its_own(two):
    mine = two.ask("pid")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            theirs = {two.ask("pid") for _ in range(4)}
            two.close()
            os.write(writing, b"own" if mine not in theirs else b"shared")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 10) == b"own"
    assert two.ask("echo", 3) == 3
    os.close(reading)
    os.close(writing)


def test_workers_are_replaced_after_many_calls(monkeypatch):
    assert pool.RECYCLE == 2000
    one = Pool("pool_functions:act", workers=1)
    try:
        pids = {one.ask("pid") for _ in range(2 * pool.RECYCLE + 10)}
    finally:
        one.close()
    assert len(pids) == 3


def test_a_pool_needs_a_worker():
    with pytest.raises(UserError, match="workers is 0"):
        Pool("pool_functions:act", workers=0)
