"""Workers that connect back over TCP are as those of this machine, and strangers are sent away."""

import contextlib
import os
import signal
import socket
import threading
import time

import psutil
import pytest

from menon.errors import UserError
from menon.processes import elsewhere
from menon.processes.deadline import Late
from menon.processes.elsewhere import Elsewhere, HostAgent
from menon.processes.wire import RemoteError
from menon.processes.worker import Ended, Spawn, Worker

LONG = 60.0


class Agent(HostAgent):
    """An agent in this process."""

    host = "the other host"


def worker_on(agent: HostAgent, entry: str = "worker_handlers:Acts", **settings) -> Worker:
    return Worker(Elsewhere(agent, Spawn(entry, **settings), "127.0.0.1"))


@pytest.fixture(scope="module")
def worker():
    worker = worker_on(Agent(), environment={"MINE": "7"})
    yield worker
    worker.close()


def ask(worker: Worker, *data, seconds: float = LONG):
    return worker.ask(data, seconds).data


def gone(pid: int, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return True
    return False


def test_it_answers_over_tcp(worker):
    assert ask(worker, "pid") == worker.pid != os.getpid()
    assert worker.connection.socket.family == socket.AF_INET
    text = "0123456789" * 500_000
    assert ask(worker, "echo", text) == text
    with pytest.raises(RemoteError, match="KeyError"):
        ask(worker, "raise")


def test_its_last_words_and_its_exit_code_come_here(worker, capfd):
    ask(worker, "print", 1)
    with pytest.raises(Ended) as ended:
        ask(worker, "exit", 3)
    assert ended.value.how == "exit code 3"
    with pytest.raises(Ended) as ended:
        ask(worker, "signal", signal.SIGKILL)
    assert ended.value.how == "signal SIGKILL"
    assert "to descriptor 2" in capfd.readouterr().err


def test_a_deadline_and_a_kill_end_it_here_and_there(worker):
    pid = ask(worker, "pid")
    with pytest.raises(Late):
        ask(worker, "nap", 60, seconds=0.3)
    assert gone(pid)
    pid = ask(worker, "pid")
    threading.Timer(0.2, worker.kill).start()
    with pytest.raises(Ended):
        ask(worker, "nap", 60)
    assert gone(pid)


def test_it_ends_where_its_controller_is_gone(worker):
    """The controller's system closes its sockets, also where it was killed."""
    pid = ask(worker, "pid")
    worker.connection.hang_up()
    assert gone(pid)
    worker.close()


class Visited(Agent):
    """Strangers come before its processes."""

    def start(self, address, token, settings, environment):
        for said in (b"", b"x" * (len(token) + 1), token[:-1].encode() + b"??", token.encode() + b"x"):
            with socket.create_connection(address) as stranger:
                stranger.sendall(said)
                stranger.shutdown(socket.SHUT_WR)
        return super().start(address, token, settings, environment)


def test_strangers_without_the_token_are_sent_away():
    worker = worker_on(Visited())
    assert ask(worker, "echo", 5) == 5
    worker.close()


class Silent(Agent):
    def start(self, address, token, settings, environment):
        return 1 << 22

    def wait(self, pid):
        return -signal.SIGKILL


def test_a_host_that_does_not_connect_is_named_in_time(monkeypatch):
    monkeypatch.setattr(elsewhere, "START_LIMIT", 0.3)
    with pytest.raises(Late, match=r"^the other host did not connect to this machine within"):
        worker_on(Silent()).start()


def test_an_interface_that_is_not_here_is_refused():
    with pytest.raises(
        UserError, match=r"cannot listen on the interface 192\.0\.2\.1 .*placement\.interface"
    ):
        Worker(Elsewhere(Agent(), Spawn("worker_handlers:Acts"), "192.0.2.1")).start()
