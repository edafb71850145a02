"""What workers are started with in tests: one that answers questions, one that streams, one that cannot
start."""

import os
import signal
import sys
import threading
import time
from typing import Any

from menon.processes.child import serve
from menon.processes.pulse import Pulse
from menon.processes.wire import Connection


class Acts:
    """Does what it is asked to do; `cpu_seconds` limits one call where it is given."""

    def __init__(self, cpu_seconds: float = 0.0) -> None:
        self.cpu_seconds = cpu_seconds

    def __call__(self, connection: Connection) -> None:
        serve(connection, lambda data: act(*data), self.cpu_seconds)


def act(what: str, value: Any = None) -> Any:
    if what == "echo":
        return value
    if what == "pid":
        return os.getpid()
    if what == "nap":
        time.sleep(value)
    if what == "spin":
        while True:
            pass
    if what == "raise":
        raise KeyError("no such\nunit")
    if what == "print":
        print("to stdout")
        os.write(1, b"to descriptor 1\n")
        print("to stderr", file=sys.stderr)
        os.write(2, b"to descriptor 2\n")
        return value
    if what == "input":
        return input()
    if what == "signal":
        os.kill(os.getpid(), value)
    if what == "exit":
        sys.exit(value)
    if what == "eat":
        return len(bytearray(value))
    if what == "starve":  # what native libraries do where memory runs out
        try:
            return len(bytearray(value))
        except MemoryError:
            print(
                "terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr, flush=True
            )
            os.kill(os.getpid(), signal.SIGABRT)
    if what == "child":
        if (pid := os.fork()) == 0:
            time.sleep(60)
        return pid
    if what == "group":
        return os.getpgid(0)


class Counts:
    """Streams the numbers below each number that it hears; another message may come meanwhile and stops
    it."""

    def __call__(self, connection: Connection) -> None:
        while True:
            for number in range(connection.receive().data):
                if connection.waiting():
                    break
                connection.send(number, bytes([number % 256]) * 3)
                time.sleep(0.001)
            connection.send("end")


class Leaves:
    """Fails outside of any answer."""

    def __init__(self, how: str) -> None:
        if how == "at once":
            raise ValueError("cannot begin")

    def __call__(self, connection: Connection) -> None:
        connection.receive()
        raise MemoryError("no room for the cache")


class Deaf:
    """Reads nothing and says nothing."""

    def __call__(self, connection: Connection) -> None:
        time.sleep(60)


class Beats:
    """Says that it runs, and does what it is asked for: "work" makes progress, "wait" waits for ever."""

    def __call__(self, connection: Connection) -> None:
        lock = threading.Lock()

        def send(data: Any) -> None:
            with lock:
                connection.send(data)

        pulse = Pulse(send)
        while (what := connection.receive().data) != "wait":
            pulse.progress += 1
            send(["done", what])
        threading.Event().wait()
