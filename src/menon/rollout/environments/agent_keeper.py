"""The process that starts the programs of agents and ends them.

Each program leads a session and a process group of its own, which is killed when the program has ended or is
ended. This process is the subreaper of what they start. When the process that asked it is gone, however it
ended, it kills all that is left and ends too."""

import os
import selectors
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from menon.processes.child import Handler
from menon.processes.wire import Closed, Connection
from menon.processes.worker import kill_group
from menon.sandbox.kernel import prctl
from menon.sandbox.watch import end_all

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
MOST = 1 << 20
"""Last bytes of a program's output that are kept."""
PIECE = 1 << 16


def handler() -> Handler:
    return lambda connection: Keeper(connection).serve()


@dataclass
class Program:
    """A program that runs, and what it has written so far."""

    name: str
    process: subprocess.Popen[bytes]
    output: dict[int, bytes] = field(default_factory=dict)
    """Descriptor of each of its two pipes -> the last bytes from it."""

    def read(self, pipe: int) -> bool:
        """Takes what is in a pipe; False at its end or when it is empty."""
        try:
            piece = os.read(pipe, PIECE)
        except BlockingIOError:
            return False
        self.output[pipe] = (self.output[pipe] + piece)[-MOST:]
        return bool(piece)


class Keeper:
    """Takes `["start", name, command, environment, question]` and `["end", name]`; sends `[name, exit code,
    output, errors]` when a program has ended by itself. One thread does it all."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.programs: dict[int, Program] = {}
        """By the number of their process."""
        self.pid = os.getpid()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.wakes, writing = os.pipe()
        for end in (self.wakes, writing):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # its wake-up is what counts
        self.selector = selectors.DefaultSelector()
        self.selector.register(connection.socket, selectors.EVENT_READ)
        self.selector.register(self.wakes, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serves until the other end is gone."""
        try:
            while True:
                for key, _ in self.selector.select():
                    if self.selector.get_map().get(key.fd) is key:  # not closed by an event before it
                        self.handle(key)
        except Closed:
            pass
        finally:
            end_all()

    def handle(self, key: selectors.SelectorKey) -> None:
        if key.fileobj is self.connection.socket:
            what, name, *arguments = self.connection.receive().data
            self.start(name, *arguments) if what == "start" else self.end(name)
        elif key.fd == self.wakes:
            with suppress(BlockingIOError):
                os.read(self.wakes, PIECE)
            self.reap()
        elif not key.data.read(key.fd):
            self.selector.unregister(key.fd)  # its end; nothing is empty that was ready

    def start(self, name: str, command: str, environment: dict[str, str], question: str) -> None:
        try:
            with tempfile.TemporaryFile() as given:
                given.write(question.encode(errors="replace"))
                given.seek(0)
                process = subprocess.Popen(
                    ["/bin/sh", "-c", command],
                    env=environment,
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                    preexec_fn=self.follow,  # this process has one thread
                )
        except OSError as error:
            self.connection.send([name, 1, "", f"it cannot be started: {error}"])
            return
        program = self.programs[process.pid] = Program(name, process)
        for pipe in pipes_of(program):
            os.set_blocking(pipe, False)
            program.output[pipe] = b""
            self.selector.register(pipe, selectors.EVENT_READ, program)

    def follow(self) -> None:
        """In the new process: it ends with this one."""
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.pid:
            os._exit(1)

    def end(self, name: str) -> None:
        """Kills a program, if it still runs. Nothing is sent for it."""
        program = next((one for one in self.programs.values() if one.name == name), None)
        if program is not None:
            kill_group(program.process.pid)
            self.forget(program)

    def reap(self) -> None:
        """Takes the programs that have ended, and orphans of theirs."""
        while True:
            try:
                ended: Any = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            program = self.programs.get(ended.si_pid)
            if program is None:
                os.waitpid(ended.si_pid, 0)
                continue
            kill_group(ended.si_pid)  # before the wait, while the number is still its own
            for pipe in pipes_of(program):
                while program.read(pipe):
                    pass
            texts = [data.decode(errors="replace") for data in program.output.values()]
            code = self.forget(program)
            self.connection.send([program.name, code, *texts])

    def forget(self, program: Program) -> int:
        """Waits for a process that is ending. Its exit code, or the negative number of a signal."""
        code = program.process.wait()
        del self.programs[program.process.pid]
        for pipe in pipes_of(program):
            with suppress(KeyError):
                self.selector.unregister(pipe)
        for end in (program.process.stdout, program.process.stderr):
            if end is not None:
                end.close()
        return code


def pipes_of(program: Program) -> list[int]:
    """The descriptors of a program's output and errors."""
    ends = (program.process.stdout, program.process.stderr)
    return [end.fileno() for end in ends if end is not None]
