"""One way to own processes: they answer in time or are replaced, their ends are explained, and they leave
nothing."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import psutil
import pytest

from menon.errors import UserError
from menon.processes.deadline import Late
from menon.processes.forkserver import Forkserver
from menon.processes.wire import Message, RemoteError
from menon.processes.worker import Ended, Spawn, Worker

LONG = 60.0
"""Seconds that a start may take on a busy machine."""


def forked() -> Worker:
    return Worker(Forkserver("worker_handlers:Acts"))


def spawned() -> Worker:
    return Worker(Spawn("worker_handlers:Acts"))


@pytest.fixture(params=[spawned, forked], scope="module")
def worker(request):
    """One of each kind."""
    worker = request.param()
    yield worker
    close(worker)


def close(worker: Worker) -> None:
    worker.close()
    if isinstance(worker.launch, Forkserver):
        worker.launch.close()


def ask(worker: Worker, *data, seconds: float = LONG):
    return worker.ask(data, seconds).data


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(true, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def test_it_answers(worker):
    data = {"text": "a\nb\r\u2028\x00\ud800🌍", "numbers": [1, 2.5, None, True], "nan": float("inf")}
    assert ask(worker, "echo", data) == data
    assert ask(worker, "pid") == worker.pid != os.getpid()
    assert ask(worker, "group") == worker.pid  # a kill reaches what the worker has started


def test_large_messages_arrive_whole_in_both_directions(worker):
    text = "0123456789" * 2_000_000
    assert ask(worker, "echo", text) == text


def test_what_is_no_plain_data_is_refused_before_it_is_sent(worker):
    pid = ask(worker, "pid")
    with pytest.raises(TypeError, match="not JSON serializable"):
        worker.ask(["echo", object()], LONG)
    assert ask(worker, "pid") == pid


def test_a_deadline_kills_and_the_next_question_is_answered_by_another_process(worker):
    pid = ask(worker, "pid")
    began = time.perf_counter()
    with pytest.raises(Late, match=r"^took longer than 0.3 s$"):
        ask(worker, "nap", 30, seconds=0.3)
    assert time.perf_counter() - began < 10
    assert not alive(pid)
    assert ask(worker, "echo", 1) == 1
    assert worker.pid != pid


def test_a_deadline_holds_for_a_worker_that_does_not_read():
    deaf = Worker(Spawn("worker_handlers:Deaf"))
    with pytest.raises(Late):
        deaf.ask("x" * 10_000_000, 0.5)  # more than the socket holds
    deaf.close()


def test_an_exception_arrives_with_type_message_and_place_and_the_worker_goes_on(worker):
    pid = ask(worker, "pid")
    with pytest.raises(RemoteError) as caught:
        ask(worker, "raise")
    assert (caught.value.kind, caught.value.text) == ("KeyError", "'no such\\nunit'")
    assert str(caught.value).startswith("KeyError: 'no such\\nunit' (worker_handlers.py:")
    assert ask(worker, "pid") == pid


@pytest.mark.parametrize(
    ("what", "value", "how"),
    [
        ("signal", signal.SIGKILL, "signal SIGKILL"),
        ("signal", signal.SIGSEGV, "signal SIGSEGV"),
        ("exit", 3, "exit code 3"),
        ("exit", None, "exit code 0"),
        ("exit", "bye", "exit code 1"),
    ],
)
def test_an_end_is_explained_and_the_next_question_is_answered(worker, what, value, how):
    with pytest.raises(Ended) as caught:
        ask(worker, what, value)
    assert caught.value.how == how
    assert str(caught.value) == "a worker process has ended (" + how + (
        "; its last line was: bye)" if value == "bye" else ")"
    )
    assert ask(worker, "echo", 1) == 1


def test_a_worker_killed_from_outside_while_idle(worker):
    assert ask(worker, "echo", 1) == 1
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(Ended, match=r"\(signal SIGKILL\)$"):
        ask(worker, "echo", 1)
    assert ask(worker, "echo", 2) == 2


@pytest.mark.parametrize("kind", [Spawn, Forkserver])
def test_memory_has_a_limit_and_its_end_is_explained(kind):
    worker = Worker(kind("worker_handlers:Acts", memory=4 << 30))
    try:
        with pytest.raises(RemoteError) as caught:
            ask(worker, "eat", 1 << 40)
        assert caught.value.kind == "MemoryError"
        with pytest.raises(Ended) as ended:
            ask(worker, "starve", 1 << 40)
        assert str(ended.value) == (
            "a worker process has ended (signal SIGABRT; its last line was: terminate called after throwing "
            "an instance of 'std::bad_alloc')"
        )
    finally:
        close(worker)


@pytest.mark.parametrize("kind", [Spawn, Forkserver])
def test_cpu_time_has_a_limit_that_waiting_does_not_use(kind):
    worker = Worker(kind("worker_handlers:Acts", 0.2))
    try:
        assert ask(worker, "nap", 0.5) is None
        with pytest.raises(Ended, match="signal SIGPROF"):
            ask(worker, "spin")
        assert ask(worker, "echo", 1) == 1
    finally:
        close(worker)


def test_failures_outside_of_an_answer_arrive_too():
    leaves = Worker(Spawn("worker_handlers:Leaves", "at once"))
    with pytest.raises(RemoteError, match=r"^ValueError: cannot begin \(worker_handlers.py:\d+\)$"):
        leaves.ask(0, LONG)
    leaves.close()
    leaves = Worker(Spawn("worker_handlers:Leaves", "later"))
    with pytest.raises(RemoteError, match="MemoryError: no room for the cache"):
        leaves.ask(0, LONG)
    with pytest.raises(
        Ended, match=r"\(exit code 1; its last line was: MemoryError: no room for the cache\)"
    ):
        leaves.receive(LONG)
    leaves.close()


def test_a_forkserver_that_cannot_load_says_so():
    worker = Worker(Forkserver("worker_handlers:missing"))
    with pytest.raises(RemoteError, match=r"AttributeError: .*'missing'"):
        ask(worker, "echo", 1)
    close(worker)


def test_prints_do_not_touch_the_wire_and_are_seen(worker, capfd):
    assert ask(worker, "print", 5) == 5
    assert ask(worker, "echo", 6) == 6
    seen = ""

    def all_seen() -> bool:
        nonlocal seen
        seen += capfd.readouterr().err
        return all(line in seen for line in ("to stdout", "to descriptor 1", "to stderr", "to descriptor 2"))

    assert wait_until(all_seen)
    with pytest.raises(RemoteError, match="EOFError"):
        ask(worker, "input")


def test_messages_stream_and_others_can_be_sent_meanwhile():
    counts = Worker(Spawn("worker_handlers:Counts"))
    counts.start()
    inbox: SimpleQueue = SimpleQueue()
    counts.listen(inbox, "the one")
    counts.send(3)
    got = [inbox.get(timeout=LONG) for _ in range(4)]
    assert got == [("the one", Message(n, bytes([n]) * 3)) for n in range(3)] + [("the one", Message("end"))]
    counts.send(1_000_000)
    assert inbox.get(timeout=LONG) == ("the one", Message(0, b"\0\0\0"))
    counts.send(0)
    heard = []
    while heard.count("end") < 2:
        heard.append(inbox.get(timeout=LONG)[1].data)
    assert len(heard) < 100_000
    assert heard[:-2] == list(range(1, len(heard) - 1))
    os.kill(counts.pid, signal.SIGKILL)
    assert inbox.get(timeout=LONG) == ("the one", None)
    for _ in range(2):  # it is not started again by itself, and stays explained
        with pytest.raises(Ended, match=r"\(signal SIGKILL\)"):
            counts.send(1)
    counts.close()


def test_answers_do_not_get_lost_between_threads_with_a_worker_each():
    server = Forkserver("worker_handlers:Acts")
    workers = [Worker(server) for _ in range(4)]

    def one(number: int) -> bool:
        worker = workers[number]
        for place in range(60):
            if place % 20 == 10:
                with pytest.raises(Ended):
                    ask(worker, "signal", signal.SIGSEGV)
            assert ask(worker, "echo", [number, place]) == [number, place]
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(one, range(4)))
    for worker in workers:
        worker.close()
    server.close()


def test_a_kill_from_another_thread_ends_the_call(worker):
    ask(worker, "echo", 1)
    timer = threading.Timer(0.2, worker.kill)
    timer.start()
    with pytest.raises(Ended, match="signal SIGKILL"):
        ask(worker, "nap", 30)
    timer.join()
    assert ask(worker, "echo", 1) == 1


def test_all_who_ask_hear_why_it_ended(worker):
    """Also one who asks while another waits for the rest of its output."""
    ask(worker, "pid")
    finish, begun = worker._finish, threading.Event()

    def slowly():
        begun.set()
        time.sleep(0.5)
        return finish()

    worker._finish = slowly
    os.kill(worker.pid, signal.SIGKILL)
    first = threading.Thread(target=worker.ended)
    first.start()
    begun.wait(10)
    assert worker.ended().how == "signal SIGKILL"
    first.join(10)


def test_a_kill_reaches_what_the_worker_has_started(worker):
    pid = ask(worker, "child")
    assert alive(pid)
    worker.restart()
    assert wait_until(lambda: not alive(pid))
    assert ask(worker, "echo", 1) == 1


def test_restarts_leave_no_zombie_no_descriptor_and_no_thread(worker):
    ask(worker, "echo", 1)
    files, threads = descriptors(), threading.active_count()
    others = len(psutil.Process().children(recursive=True))
    pids = set()
    for place in range(50 if isinstance(worker.launch, Forkserver) else 10):
        worker.restart()
        if place % 5 == 0:
            pids.add(ask(worker, "pid"))
    assert len(pids) > 1
    assert (descriptors(), threading.active_count()) == (files, threads)
    assert len(psutil.Process().children(recursive=True)) == others


def test_fifty_restarts_by_deadline_and_by_death_leave_nothing():
    worker = forked()
    ask(worker, "echo", 1)
    files, others = descriptors(), len(psutil.Process().children(recursive=True))
    for place in range(50):
        with pytest.raises(Late if place % 2 else Ended):
            ask(worker, *(("nap", 30) if place % 2 else ("exit", 2)), seconds=0.02 if place % 2 else LONG)
        assert ask(worker, "echo", place) == place
    assert (descriptors(), len(psutil.Process().children(recursive=True))) == (files, others)
    close(worker)


def test_a_closed_worker_leaves_nothing_and_starts_again_when_it_is_asked():
    files, others = descriptors(), len(psutil.Process().children(recursive=True))
    for make in (spawned, forked):
        worker = make()
        assert ask(worker, "echo", 1) == 1
        close(worker)
        assert (descriptors(), len(psutil.Process().children(recursive=True))) == (files, others)
        assert ask(worker, "echo", 2) == 2
        close(worker)


def test_a_worker_that_is_dropped_ends():
    worker = forked()
    pid, server = ask(worker, "pid"), worker.launch.server.pid
    del worker
    gc.collect()
    assert not alive(pid)
    assert not alive(server)


def test_a_dead_forkserver_is_replaced():
    worker = forked()
    old = ask(worker, "pid")
    os.kill(worker.launch.server.pid, signal.SIGKILL)
    assert ask(worker, "pid") == old  # it needs the server for a start only
    os.kill(old, signal.SIGKILL)
    with pytest.raises(Ended):
        ask(worker, "echo", 1)
    assert ask(worker, "echo", 2) == 2
    close(worker)


def test_a_fork_of_this_process_does_not_end_its_workers(worker):
    mine = ask(worker, "pid")
    if (pid := os.fork()) == 0:
        try:
            worker.close()
            if isinstance(worker.launch, Forkserver):
                worker.launch.close()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert ask(worker, "pid") == mine


def test_other_systems_are_named(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with pytest.raises(
        UserError, match=r"^worker processes need Linux or macOS; on Windows run Menon in WSL$"
    ):
        spawned()


SCRIPT = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from menon.processes.forkserver import Forkserver
from menon.processes.worker import Spawn, Worker
print("started", flush=True)
launch = Forkserver("worker_handlers:Acts") if sys.argv[1] == "forked" else Spawn("worker_handlers:Acts")
worker = Worker(launch)
pids = [worker.ask(["pid"], 60).data]
if sys.argv[1] == "forked":
    pids.append(launch.server.pid)
print(*pids, flush=True)
worker.ask([sys.argv[2], 60], 60)
"""


@pytest.mark.parametrize("kind", ["spawned", "forked"])
@pytest.mark.parametrize("what", ["nap", "spin"])
@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_or_a_kill_of_this_process_leaves_no_child_and_a_script_is_not_run_twice(
    tmp_path, kind, what, ends
):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.Popen(
        [sys.executable, script, kind, what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert run.stdout is not None
    assert run.stderr is not None
    assert run.stdout.readline() == b"started\n"
    pids = [int(pid) for pid in run.stdout.readline().split()]
    assert all(alive(pid) for pid in pids)
    time.sleep(0.2)
    run.send_signal(ends)
    rest, errors = run.communicate(timeout=LONG)
    assert rest == b""
    assert (b"KeyboardInterrupt" in errors) == (ends == signal.SIGINT)
    assert wait_until(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads descriptors from /proc")
def test_a_worker_has_no_descriptor_of_its_siblings(worker):
    """Or one worker would keep another's connection open, and its end would not be seen."""
    other = type(worker)(worker.launch)
    ask(other, "echo", 1)
    ask(worker, "echo", 1)
    worker.restart()
    ask(worker, "echo", 1)
    sockets = [
        os.readlink(f"/proc/{pid}/fd/{fd}")
        for pid in (worker.pid, other.pid)
        for fd in os.listdir(f"/proc/{pid}/fd")
    ]
    sockets = [name for name in sockets if name.startswith("socket:")]
    assert len(sockets) == len(set(sockets)) == 2
    other.close()
