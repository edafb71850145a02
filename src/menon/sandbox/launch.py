"""The grader's side of the sandbox: starts keepers, has them run programs, and reads the output from memory
whose size the kernel limits."""

import json
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from menon.sandbox.limits import Limits
from menon.sandbox.tidy import remove_tree

SCRIPT = (
    "import sys; sys.path.insert(0, sys.argv.pop()); from menon.sandbox.keeper import main; (main() or int)()"
)
START_LIMIT = 60.0
SLACK = 30.0
"""Seconds that a keeper may take beyond a run's own limit, on a very busy machine, before it is replaced."""
KEPT = 4096
"""Bytes of a program's error output that are read."""
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "MALLOC_ARENA_MAX": "2",  # each arena reserves address space, which is limited
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class SandboxError(RuntimeError):
    """The sandbox itself failed: no verdict about the program."""


@dataclass(frozen=True)
class Task:
    """One process of a run."""

    role: str
    """"script", "notebook", "solution" or "test"."""
    code: bytes
    input: bytes = b""


@dataclass(frozen=True)
class Finished:
    """A run that is over; everything in it may have been chosen by model code except `why`, `left` and the
    measurements."""

    why: str
    """"exit", or the limit that it hit: "timeout", "tasks", "disk", "memory"."""
    code: int
    """Exit code, or minus the signal, of the last process."""
    first_code: int
    """The same of the first process; 0 if it ran until the last one had ended."""
    output: bytes
    """Output of the last process; at most `output_mb`."""
    errors: bytes
    """The end of what the first process wrote to stderr."""
    seconds: float
    cpu_seconds: float
    memory_mb: float
    """Peak memory of the run."""
    left: int
    """Number of processes that were still running at the end and were killed."""
    namespaces: bool = False
    in_memory: bool = False
    """Whether the private directory was a file system in memory that the kernel bounds."""


class Sandbox:
    """A keeper process. One run at a time; from several threads, use several."""

    def __init__(self, layers: Sequence[str]) -> None:
        self.layers = tuple(layers)
        self.root = tempfile.mkdtemp(prefix="menon-sandbox-")
        self.owner, theirs = socket.socketpair()
        libraries = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
        told = json.dumps([theirs.fileno(), self.root, readable_paths(), list(dict.fromkeys(libraries))])
        folder = str(Path(__file__).parents[2])
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", "-c", SCRIPT, told, folder],
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            self.receive(START_LIMIT)
        except SandboxError:
            self.close()
            raise

    def run(self, tasks: Sequence[Task], limits: Limits) -> Finished:
        """SandboxError if the sandbox, not the program, failed."""
        files: list[int] = []
        try:
            for task in tasks:
                files += [memory(task.input), memory(), memory(), memory(task.code)]
            message = {
                "limits": asdict(limits),
                "roles": [task.role for task in tasks],
                "layers": self.layers,
            }
            with suppress(OSError):  # then no reply comes, which `receive` reports
                socket.send_fds(self.owner, [json.dumps(message).encode()], files)
            reply = self.receive(limits.wall_s + SLACK)
            if not reply.pop("closed_in"):
                raise SandboxError("a process could not be isolated")
            if reply["why"] == "killed":
                raise SandboxError(
                    "a process was killed from outside (SIGKILL); the kernel does so when the machine has no "
                    "memory left"
                )
            most = limits.output_mb << 20
            return Finished(
                output=content(files[-3], most), errors=content(files[2], KEPT, at_end=True), **reply
            )
        finally:
            for descriptor in files:
                os.close(descriptor)

    def receive(self, seconds: float) -> dict[str, Any]:
        self.owner.settimeout(seconds)
        try:
            data = self.owner.recv(1 << 16)
        except TimeoutError:
            raise SandboxError(f"the sandbox gave no answer in {seconds:g} s") from None
        except OSError:
            data = b""
        if not data:
            raise SandboxError("the sandbox's keeper ended")
        return json.loads(data)

    def close(self) -> None:
        """Ends the keeper, and with it whatever it runs."""
        self.owner.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        remove_tree(self.root)


def memory(data: bytes = b"") -> int:
    """The descriptor of a file in memory. With content it is read-only."""
    import fcntl

    descriptor = os.memfd_create("menon", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    if data:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        fcntl.fcntl(
            descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
        )
    return descriptor


def content(descriptor: int, most: int, at_end: bool = False) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, most, max(0, size - most) if at_end else 0)


def readable_paths() -> list[str]:
    """The libraries of the interpreter and of the system, and none of the user's files."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    own = [sysconfig.get_path(name) for name in names]
    base = Path(sys.base_prefix) / "lib"
    system = [
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/share/zoneinfo",
        "/etc/ld.so.cache",
    ]
    devices = ["/dev/zero", "/dev/urandom", "/dev/random"]
    return list(dict.fromkeys([*own, str(base), *system, *devices]))


class Pool:
    """Sandboxes that are started when they are needed, and reused."""

    def __init__(self, layers: Sequence[str]) -> None:
        self.layers = tuple(layers)
        self.idle: list[Sandbox] = []
        self.pid = os.getpid()
        self.lock = threading.Lock()

    def run(self, tasks: Sequence[Task], limits: Limits) -> Finished:
        with self.lock:
            if self.pid != os.getpid():  # a copy of the program that started them has none of its own
                self.pid, self.idle = os.getpid(), []
            sandbox = self.idle.pop() if self.idle else None
        sandbox = sandbox or Sandbox(self.layers)
        try:
            finished = sandbox.run(tasks, limits)
        except BaseException:
            sandbox.close()
            raise
        with self.lock:
            self.idle.append(sandbox)
        return finished

    def close(self) -> None:
        with self.lock:
            idle, self.idle = self.idle, []
        for sandbox in idle:
            sandbox.close()
