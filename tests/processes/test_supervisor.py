"""Workers that are silent, idle or make no progress are ended in the stated time, and say why."""

import json
import os
import signal
import time
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from menon.processes import pulse, supervisor
from menon.processes.supervisor import Post, Supervisor
from menon.processes.worker import START_LIMIT, Spawn, Worker


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(value=1000.0)
    monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: now.value, time=time.time))
    return now


def post() -> Post:
    return Post("sampler 0", Worker(Spawn("worker_handlers:Beats")))


def test_a_start_may_take_its_time_and_silence_not(clock):
    one = post()
    clock.value += START_LIMIT - 1
    assert one.judge() == ""
    clock.value += 2
    assert one.judge() == f"it sent nothing for {supervisor.SILENT + 1:.0f} s and had nothing to do"
    one.started()
    assert one.hears([pulse.BEAT, 1.0, 0])
    clock.value += supervisor.SILENT - 1
    assert one.judge() == ""
    clock.value += 2
    assert one.judge() == f"it sent nothing for {supervisor.SILENT + 1:.0f} s and had nothing to do"


def beats(one: Post, clock: SimpleNamespace, seconds: int, cpu: float, progress: int) -> str:
    """What is judged after so many beats, of which each adds this."""
    for beat in range(seconds):
        clock.value += 1
        one.hears([pulse.BEAT, cpu * beat, progress * beat])
    return one.judge()


def test_work_without_cpu_time_or_without_progress_is_a_hang_and_idleness_is_not(clock):
    one = post()
    assert beats(one, clock, 2000, cpu=0, progress=0) == ""
    one.assign("a stream", "write 3 answers")
    assert beats(one, clock, 59, cpu=0, progress=0) == ""
    assert beats(one, clock, 10, cpu=0, progress=0).startswith(
        "it had to write 3 answers and used no CPU time for"
    )
    assert beats(one, clock, 800, cpu=1, progress=0) == ""
    assert "and made no progress for" in beats(one, clock, 1000, cpu=1, progress=0)
    assert beats(one, clock, 2000, cpu=1, progress=1) == ""
    one.assign("a stream", "")
    assert beats(one, clock, 2000, cpu=0, progress=0) == ""


def test_a_stopped_worker_is_killed_and_the_file_says_what_it_had_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor, "SILENT", 2.0)
    monkeypatch.setattr(supervisor, "LOOK", 0.1)
    file = tmp_path / "workers.json"
    supervised = Supervisor(file)
    worker = Worker(Spawn("worker_handlers:Beats"))
    one = supervised.watch("a worker", worker)
    inbox: SimpleQueue = SimpleQueue()
    worker.start()
    worker.listen(inbox, "tag")
    worker.send("work")
    while True:  # until its beats and its answer are there
        _, message = inbox.get(timeout=60)
        if not one.hears(message.data):
            break
    assert message.data == ["done", "work"]
    one.assign("me", "wait for ever")
    os.kill(worker.pid, signal.SIGSTOP)
    began = time.monotonic()
    time.sleep(0.5)
    (line,) = json.loads(file.read_text())["workers"]
    assert (line["name"], line["pid"], line["task"]) == ("a worker", worker.pid, "wait for ever")
    while message is not None:
        _, message = inbox.get(timeout=60)
    assert time.monotonic() - began < 30
    assert one.fault.startswith("it sent nothing for")
    assert worker.ended().how == "signal SIGKILL"
    supervised.close()
    supervised._thread.join(10)
    (line,) = json.loads(file.read_text())["workers"]  # the last look stays, with its pid and why it ended
    assert line["pid"] > 0
    assert line["task"] == "wait for ever"
    assert line["ended_for"].startswith("it sent nothing for")
    supervised.forget()
    assert not file.exists()


def test_a_worker_without_beats_is_written_down_and_not_judged(monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor, "LOOK", 0.05)
    file = tmp_path / "workers.json"
    supervised = Supervisor(file)
    one = supervised.note("rank 3", Worker(Spawn("worker_handlers:Beats")))
    one.assign("me", "compute its part of an update")
    one.assign("you", "compute its part of an update")
    end = time.monotonic() + 30
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.05)
    (line,) = json.loads(file.read_text())["workers"]
    assert (line["name"], line["task"]) == ("rank 3", "compute its part of an update")
    monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: 1e9, time=time.time))
    assert one.judge() == ""
    one.assign("me", "")
    one.assign("you", "")
    assert one.task == ""
    supervised.close()
