"""A process that imports a worker's libraries once and forks each worker in milliseconds.

The process that trains is never forked: it has threads and torch.
"""

import os
import signal
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from menon.processes.child import Handler, exit_with_parent, load, run_and_exit
from menon.processes.deadline import Late
from menon.processes.wire import Connection, RemoteError
from menon.processes.worker import START_LIMIT, Ended, Spawn, Started, Worker, kill_group, started_here

WAIT_LIMIT = 10.0
"""Seconds to wait for the exit code of a worker that was killed."""


class Forkserver:
    """A way to start workers (`worker.Launch`). `entry(*arguments)` is called once, in the forkserver's own
    process, and each worker runs the handler that it returned. `memory` is a worker's limit in bytes. Any
    thread may use it."""

    def __init__(
        self,
        entry: str,
        *arguments: Any,
        memory: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        server = "menon.processes.forkserver:Server"
        self.server = Worker(Spawn(server, entry, arguments, memory, watched=False, environment=environment))
        self.lock = threading.Lock()

    def __call__(self) -> Started:
        """Late if the imports take longer than START_LIMIT, RemoteError if they fail, Ended."""
        return started_here(self.child)

    def child(self, connection: int, output: int) -> "Forked":
        with self.lock:
            pid = self.server.ask(["fork"], START_LIMIT, descriptors=(connection, output)).data
        return Forked(self, pid)

    def wait(self, pid: int) -> int:
        """The exit code of a worker that is ending; -SIGKILL if it is lost because its forkserver has
        ended."""
        if self.lock.acquire(timeout=WAIT_LIMIT):
            try:
                if self.server.pid:
                    return self.server.ask(["wait", pid], WAIT_LIMIT).data
            except (Ended, Late, RemoteError):
                pass
            finally:
                self.lock.release()
        return -signal.SIGKILL

    def close(self) -> None:
        """Ends the forkserver's own process; the next worker starts another."""
        with self.lock:
            self.server.close()


class Forked:
    """A worker process, a child of the forkserver's process."""

    def __init__(self, forkserver: Forkserver, pid: int) -> None:
        self.forkserver, self.pid = forkserver, pid

    def wait(self) -> int:
        return self.forkserver.wait(self.pid)

    def kill(self) -> None:
        kill_group(self.pid)


class Server:
    """The handler of the forkserver's own process: forks workers and waits for their ends."""

    def __init__(self, entry: str, arguments: list[Any], memory: int | None) -> None:
        self.handler = load(entry, arguments, memory)

    def __call__(self, connection: Connection) -> None:
        while True:
            what, *arguments = connection.receive().data
            connection.send(self.fork(connection) if what == "fork" else self.wait(*arguments))

    def fork(self, connection: Connection) -> int:
        theirs, output = connection.receive_descriptors(2)
        pid = os.fork()
        if not pid:
            connection.close()  # or the parent would not see the forkserver end while this worker lives
            own = Connection(socket.socket(fileno=theirs))
            run_and_exit(own, lambda: self.begin(own, output))
        os.close(theirs)
        os.close(output)
        with suppress(OSError):
            os.setpgid(pid, pid)  # in both processes: the worker may be killed before it reaches its own call
        return pid

    def begin(self, connection: Connection, output: int) -> Handler:
        os.setpgid(0, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        exit_with_parent(connection)
        return self.handler

    @staticmethod
    def wait(pid: int) -> int:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:  # a child of an earlier forkserver
            return -signal.SIGKILL
