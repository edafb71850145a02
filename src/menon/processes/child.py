"""What runs inside a worker process.

The process is a Python of its own that can import what its parent can. Unlike a child of `multiprocessing` it
does not run the user's script again, so a script needs no `if __name__ == "__main__"`.
"""

import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from menon.processes.wire import Closed, Connection, RemoteError, encode

Handler = Callable[[Connection], None]
"""The work of a worker process: it receives and sends messages. The process exits when it returns."""


def command() -> list[str]:
    """The command line that calls `main`. Its arguments, appended by the caller, start at `sys.argv[2]`."""
    path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
    program = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    return [sys.executable, "-c", program + "from menon.processes.child import main; main()", path]


def main() -> None:
    """Arguments as JSON: descriptor of the connection, entry, its arguments, memory limit, and whether to
    start the thread that watches the connection (a process that forks must have no thread)."""
    descriptor, entry, arguments, memory, watched = json.loads(sys.argv[2])
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a pipe would be buffered in blocks
    connection = Connection(socket.socket(fileno=descriptor))
    if watched:
        exit_with_parent(connection)
    run_and_exit(connection, lambda: load(entry, arguments, memory))


def load(entry: str, arguments: list[Any], memory: int | None) -> Handler:
    """Imports `module:name` and calls it with the arguments; then limits the address space to `memory`
    bytes."""
    module, _, name = entry.partition(":")
    handler: Handler = getattr(importlib.import_module(module), name)(*arguments)
    if memory is not None:
        import resource  # not on Windows, where this module is imported for the error that names the systems

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    return handler


def run_and_exit(connection: Connection, make: Callable[[], Handler]) -> None:
    """Runs a handler and ends this process. An exception is sent to the parent and printed, and gives exit
    code 1."""
    code: Any = 1
    try:
        make()(connection)
        code = 0
    except Closed:
        code = 0
    except SystemExit as error:
        code = error.code or 0
    except BaseException as error:
        traceback.print_exc()
        with suppress(Closed):
            connection.write(RemoteError.of(error).encode())
    finally:
        if not isinstance(code, int):
            print(code, file=sys.stderr)
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def exit_with_parent(connection: Connection) -> None:
    """Starts a thread that ends this process when the parent closes the connection or dies, even during a
    call that hangs."""

    def wait() -> None:
        poll = select.poll()
        # Over TCP the end of the other side is no hang-up of both.
        poll.register(connection.socket, select.POLLHUP | getattr(select, "POLLRDHUP", 0))
        poll.poll()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def serve(connection: Connection, function: Callable[[Any], Any], cpu_seconds: float = 0.0) -> None:
    """Replies to each message with `function(data)`, or with the exception that it raised.

    `cpu_seconds` limits the CPU time of one call (0: no limit). It is CPU time so that a verdict does not
    depend on the load of the machine. The kernel ends the process with SIGPROF: a Python signal handler would
    only run after a long operation in C, such as the multiplication of two huge integers.
    """
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    while True:
        data = connection.receive().data
        if cpu_seconds:
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        try:
            reply = encode(function(data))
        except Exception as error:
            reply = RemoteError.of(error).encode()
        if cpu_seconds:
            signal.setitimer(signal.ITIMER_PROF, 0)
        connection.write(reply)
