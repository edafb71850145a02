"""The process that workers are forked from: libraries are imported once, and a dead worker's successor starts in milliseconds.

Each worker owns one socket to the pool: JSON lines in, JSON lines out, one at a time. The kernel ends a worker that exceeds its
CPU time, so that a verdict does not depend on what else the machine does; the next one is forked on the same socket and says so
in its first line. All end when the pool's side of the sockets is gone.
"""

import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from menon.user_code import describe, load_object

RECYCLE = 2000
"""Calls after which a worker is replaced, so that caches of its libraries cannot grow without end."""
WORN = 3
"""Exit code of a worker that wants to be replaced."""


def main() -> None:
    """Arguments: the function's name, the sockets' file descriptors, CPU seconds and bytes of memory, as JSON."""
    name, sockets, seconds, memory = json.loads(sys.argv[2])
    function = load_object(name)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    workers = {start(number, sockets, "", function, seconds): number for number in sockets}
    while workers:
        pid, status = os.wait()
        number = workers.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            time.sleep(0.001)
            why = "" if code == WORN else signal.Signals(-code).name if code < 0 else f"exit code {code}"
            workers[start(number, sockets, why, function, seconds)] = number


def start(number: int, sockets: list[int], why: str, function: Callable[..., Any], seconds: float) -> int:
    """Forks a worker for one of the sockets; `why` its predecessor died."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for other in set(sockets) - {number}:
            os.close(other)  # or the pool would not see the end of the others
        os._exit(serve(socket.socket(fileno=number), why, function, seconds))
    except BaseException:
        os._exit(0)  # the pool is gone


def serve(line: socket.socket, why: str, function: Callable[..., Any], seconds: float) -> int:
    signal.signal(
        signal.SIGPROF, signal.SIG_DFL
    )  # ends the process: a handler would wait for the end of a long multiplication
    send(line, {"pid": os.getpid(), "died": why})
    stream = line.makefile("rb")
    for _ in range(RECYCLE):
        message = stream.readline()
        if not message:
            return 0
        asked, arguments = json.loads(message)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            reply = {"result": function(*arguments)}
        except (MemoryError, RecursionError) as error:
            reply = {"costly": type(error).__name__}
        except Exception as error:
            reply = {"fault": describe(error)}
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(line, {"asked": asked, **reply})
    return WORN


def send(line: socket.socket, message: dict[str, Any]) -> None:
    line.sendall(json.dumps(message).encode() + b"\n")
