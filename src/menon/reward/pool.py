"""A pool of worker processes for calls that may hang, crash or use up memory. Any thread and any process may
use it."""

import os
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from menon.errors import at_least
from menon.processes.child import serve
from menon.processes.deadline import Late
from menon.processes.forkserver import Forkserver
from menon.processes.wire import Connection, RemoteError
from menon.processes.worker import START_LIMIT, Ended, Worker
from menon.user_code import describe, load_object

ATTEMPTS = 3
"""How often a call is tried if its worker is killed from outside."""
PATIENCE = 20.0
"""A call is given up when its wall time reaches this many times its CPU limit: the machine is too busy."""
RECYCLE = 2000
"""Calls after which a worker is replaced, so that the caches of its libraries cannot grow without end."""


class Costly(Exception):
    """The call went over its limits, because of its arguments."""


class Broken(Exception):
    """The call failed for another reason: an error in the function or on the machine."""


class Gone(Exception):
    """The worker was killed from outside; the call may be tried again."""


class Pool:
    """`ask(*arguments)` calls one function, `module:name`, in one of `workers` processes.

    `seconds` of CPU time and `memory` bytes are limits of one call. The first call imports the function's
    libraries, once; after that a worker starts, or is replaced when it dies, in milliseconds. A fork of this
    process gets its own workers.
    """

    def __init__(self, function: str, workers: int = 2, seconds: float = 0.4, memory: int = 2 << 30) -> None:
        at_least(1, "workers", workers)
        self.function, self.workers, self.seconds, self.memory = function, workers, seconds, memory
        self.lock = threading.Lock()
        self.renew()

    def renew(self) -> None:
        """Creates the workers without starting them."""
        self.owner = os.getpid()
        self.forkserver = Forkserver(
            "menon.reward.pool:PoolHandler", self.function, self.seconds, memory=self.memory
        )
        self.members = [PoolWorker(self.forkserver) for _ in range(self.workers)]
        self.idle: SimpleQueue[PoolWorker] = SimpleQueue()
        for worker in self.members:
            self.idle.put(worker)

    def ask(self, *arguments: Any) -> Any:
        """The function's result, or Costly or Broken. Waits while all workers are busy."""
        with self.lock:
            if self.owner != os.getpid():
                self.renew()
        for _ in range(ATTEMPTS - 1):
            with suppress(Gone):
                return self.ask_once(arguments)
        try:
            return self.ask_once(arguments)
        except Gone as error:
            raise Broken(str(error)) from error

    def ask_once(self, arguments: tuple[Any, ...]) -> Any:
        worker = self.idle.get()
        try:
            self.start(worker)
            return self.call(worker, arguments)
        finally:
            self.idle.put(worker)

    def start(self, worker: "PoolWorker") -> None:
        try:
            worker.start_or_replace()
        except Late as error:
            raise Broken(f"the imports of {self.function} took longer than {START_LIMIT:g} s") from error
        except RemoteError as error:
            raise Broken(str(error)) from error
        except Ended as error:
            raise Gone(f"no worker can be started: {error}") from error

    def call(self, worker: Worker, arguments: tuple[Any, ...]) -> Any:
        try:
            outcome, value = worker.ask(arguments, self.seconds * PATIENCE).data
        except Late as error:
            raise Broken("the machine had no time for the call") from error
        except Ended as error:
            if error.how == "signal SIGKILL":
                raise Gone("a worker was killed from outside") from error
            raise Costly(error.how) from error
        except RemoteError as error:  # JSON cannot hold the result
            raise Broken(str(error)) from error
        if outcome == "result":
            return value
        raise Costly(value) if outcome == "costly" else Broken(value)

    def close(self) -> None:
        """Ends the workers; the next call would start others."""
        if self.owner != os.getpid():
            return
        idle = []
        with suppress(Empty):
            while True:
                idle.append(self.idle.get_nowait())
        for worker in self.members:
            if worker in idle:
                worker.close()
                self.idle.put(worker)
            else:
                worker.kill()  # the thread that waits for its reply closes it
        self.forkserver.close()


class PoolWorker(Worker):
    """A worker that counts its calls."""

    calls = 0

    def start_or_replace(self) -> None:
        """Called before each call: starts the worker, or replaces it after `RECYCLE` calls."""
        if self.calls % RECYCLE == 0:
            self.close()
        self.calls += 1
        self.start()


class PoolHandler:
    """The handler of a worker process: it calls the function."""

    def __init__(self, function: str, seconds: float) -> None:
        self.function, self.seconds = load_object(function), seconds

    def __call__(self, connection: Connection) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries print warnings about a model's text
        serve(connection, self.call, self.seconds)

    def call(self, arguments: list[Any]) -> tuple[str, Any]:
        try:
            return "result", self.function(*arguments)
        except (MemoryError, RecursionError) as error:
            return "costly", type(error).__name__
        except Exception as error:
            return "fault", describe(error)
