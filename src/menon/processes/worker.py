"""`Worker`: one way to start a process, ask it with a deadline, kill it, restart it, and learn why it
ended."""

import codecs
import json
import os
import signal
import socket
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, TypeVar

from menon.errors import UserError
from menon.printable import printable
from menon.processes.child import command
from menon.processes.deadline import Late
from menon.processes.wire import Closed, Connection, Message, RemoteError, encode

START_LIMIT = 120.0
"""Seconds that a worker's imports may take on a busy machine (a user's module may import torch)."""
DRAIN_LIMIT = 1.0
"""Seconds to wait for the rest of a dead worker's output. A process that it started may hold the pipe open
for longer."""
TAIL = 4096
"""Bytes of output that are kept to explain the end of a worker."""
LONGEST = 300
"""Most characters of the last line that an error message shows."""

T = TypeVar("T")


class Inbox(Protocol):
    """Where a worker's messages are put, such as a queue."""

    def put(self, item: tuple[Any, Message | RemoteError | None], /) -> None:
        """Takes the tag of a worker and its message; None once it has ended."""
        ...


class Ended(Exception):
    """A worker process has ended. `how` is "signal SIGKILL" or "exit code 1"; `words` adds its last line of
    output."""

    def __init__(self, how: str, line: str = "") -> None:
        super().__init__(how, line)
        self.how = how
        self.words = f"{how}; its last line was: {line}" if line else how

    def __str__(self) -> str:
        return f"a worker process has ended ({self.words})"


class Process(Protocol):
    """A process that leads a process group of its own."""

    @property
    def pid(self) -> int: ...

    def wait(self) -> int:
        """Waits for its end. The exit code, or the negative number of the signal that killed it."""
        ...

    def kill(self) -> None:
        """Kills its group. Any thread may call it, also when the process has ended but was not waited for."""
        ...


class Started(NamedTuple):
    """A process that was started, and our ends of what joins us to it."""

    process: Process
    connection: socket.socket
    output: int
    """Descriptor to read its stdout and stderr from."""


class Launch(Protocol):
    """A way to start worker processes: `Spawn`, `forkserver.Forkserver`, or `elsewhere.Elsewhere`."""

    def __call__(self) -> Started: ...


def started_here(start: Callable[[int, int], Process]) -> Started:
    """Starts a process of this machine: `start(connection, output)` gives it an open socket and the pipe for
    its output."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    try:
        return Started(start(theirs.fileno(), writing), ours, reading)
    except BaseException:
        ours.close()
        os.close(reading)
        raise
    finally:
        theirs.close()
        os.close(writing)


class Child:
    """A child of this process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.pid = process, process.pid

    def wait(self) -> int:
        return self.process.wait()

    def kill(self) -> None:
        kill_group(self.pid)


class Spawn:
    """Starts a new Python each time. `entry` is `module:name`, and `entry(*arguments)` returns the handler to
    run (`child.Handler`); the arguments are plain data. `memory` limits the address space, in bytes."""

    def __init__(
        self,
        entry: str,
        *arguments: Any,
        memory: int | None = None,
        environment: Mapping[str, str] | None = None,
        watched: bool = True,
    ) -> None:
        self.settings = (entry, arguments, memory, watched)
        self.environment = dict(environment or {})

    def __call__(self) -> Started:
        return started_here(self.child)

    def command(self) -> list[str]:
        """The interpreter and what it runs; the socket and the settings follow."""
        return command()

    def child(self, connection: int, output: int) -> Child:
        """Starts a process that owns the socket `connection` and writes to `output`."""
        process = subprocess.Popen(
            [*self.command(), json.dumps([connection, *self.settings])],
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[connection],
            start_new_session=True,  # Ctrl-C reaches only the parent; a kill, the worker's children too
        )
        return Child(process)


class Worker:
    """Owns one worker process at a time.

    `ask` starts the process when it is needed, which includes the first call after a failure. For a stream of
    messages, call `start` and `listen`, then `send`; such a worker is not restarted. One thread at a time may
    use a worker, except for `kill`. The process ends when the `Worker` is deleted or this process ends.
    """

    def __init__(self, launch: Launch) -> None:
        if not hasattr(os, "fork"):
            raise UserError("worker processes need Linux or macOS; on Windows run Menon in WSL")
        self.launch = launch
        self.pid = 0
        """0 while there is no process."""
        self._ended = Ended("not started")
        self._lock = threading.Lock()

    @property
    def is_here(self) -> bool:
        """Whether the process is one of this machine, by the kind of its connection."""
        return bool(self.pid) and self.connection.socket.family == socket.AF_UNIX

    def start(self) -> None:
        """Starts the process unless it runs already, without waiting for its imports."""
        if self.pid:
            return
        process, ours, reading = self.launch()
        self.connection, self._output = Connection(ours), Output(reading)
        self._threads: list[threading.Thread] = [self._output]
        self.pid, self._process = process.pid, process
        self._finish = weakref.finalize(self, finish, os.getpid(), process, self.connection, self._threads)
        self._finish.atexit = False  # at exit the worker notices by itself that its parent is gone

    def ask(
        self, data: Any, seconds: float | None, body: bytes = b"", descriptors: tuple[int, ...] = ()
    ) -> Message:
        """Sends a message and waits at most `seconds` for the reply.

        RemoteError if the worker replied with an exception. Late or Ended if it did not reply; then, as after
        Ctrl-C, its process is killed, because a late reply would be taken for that of the next call.
        """
        encoded = encode(data, body)
        self.start()
        end = None if seconds is None else time.monotonic() + seconds
        try:
            with suppress(Closed):  # the worker may have sent an exception before it ended
                self.connection.write(encoded, end)
                if descriptors:
                    self.connection.send_descriptors(*descriptors)
            return self.connection.receive(end)
        except RemoteError:
            raise
        except TimeoutError:
            self.close()
            raise Late(f"took longer than {seconds:g} s") from None
        except Closed:
            raise self.ended() from None
        except BaseException:
            self.close()
            raise

    def send(self, data: Any, body: bytes = b"") -> None:
        """Sends a message without waiting for a reply. Ended."""
        self.write(encode(data, body))

    def write(self, encoded: bytes) -> None:
        """The same for an encoded message."""
        self._try(lambda: self.connection.write(encoded))

    def receive(self, seconds: float | None = None) -> Message:
        """The next message. TimeoutError, RemoteError, Ended."""
        end = None if seconds is None else time.monotonic() + seconds
        return self._try(lambda: self.connection.receive(end))

    def _try(self, act: Callable[[], T]) -> T:
        if not self.pid:
            raise self._ended
        try:
            return act()
        except Closed:
            raise self.ended() from None

    def listen(self, inbox: Inbox, tag: Any) -> None:
        """Starts a thread that puts each message into `inbox` as `(tag, message)`, and `(tag, None)` at the
        end."""
        listener = threading.Thread(target=_listen, args=(self.connection, inbox, tag), daemon=True)
        self._threads.append(listener)
        listener.start()

    def ended(self) -> Ended:
        """Why the process ended, once its connection is closed. A process that is already ending keeps its
        exit code."""
        self.close()
        return self._ended

    def kill(self) -> None:
        """Kills the process, from any thread. A thread that waits for its reply gets Ended, also where the
        host of the process cannot be reached."""
        with self._lock:
            if self.pid:
                self._process.kill()
                self.connection.hang_up()

    def close(self) -> None:
        """Kills the process and its children, and frees what belongs to it. `ask` starts another."""
        with self._lock:  # after the wait the pid may belong to another process, which `kill` must not hit
            if not self.pid:
                return
            self.pid = 0
            code = self._finish() or 0
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            self._ended = Ended(how, self._output.last_line())

    def restart(self) -> None:
        self.close()
        self.start()


class Output(threading.Thread):
    """Copies a worker's output to this process's stderr and keeps the last bytes of it."""

    def __init__(self, pipe: int) -> None:
        super().__init__(daemon=True)
        self.pipe, self.tail = pipe, b""
        self.start()

    def run(self) -> None:
        text = codecs.getincrementaldecoder("utf-8")("replace")
        with open(self.pipe, "rb", buffering=0) as pipe:
            while piece := pipe.read(65536):
                self.tail = (self.tail + piece)[-TAIL:]
                shown = printable(text.decode(piece), keep="\n\t\r")  # it may print what a model wrote
                with suppress(OSError):
                    os.write(2, shown.encode())

    def last_line(self) -> str:
        lines = [line for line in self.tail.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:LONGEST] if lines else ""


def finish(owner: int, process: Process, connection: Connection, threads: list[threading.Thread]) -> int:
    """Kills a process group, waits, and returns the exit code. A fork of the process that owns it, `owner`,
    only closes its copy of the socket."""
    if owner != os.getpid():
        connection.close()
        return 0
    process.kill()
    code = process.wait()
    for thread in threads:
        if thread is not threading.current_thread():  # the garbage collector may run this in any thread
            thread.join(DRAIN_LIMIT)  # before the close: a listener must not read from a reused descriptor
    connection.close()
    return code


def kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _listen(connection: Connection, inbox: Inbox, tag: Any) -> None:
    try:
        with suppress(Closed):
            while True:
                try:
                    inbox.put((tag, connection.receive()))
                except RemoteError as error:
                    inbox.put((tag, error))
    finally:
        inbox.put((tag, None))
