"""The driver's end: one process per side and setting, of which only one runs at a time."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menon.errors import UserError

HERE = Path(__file__).parent
LOG_LINES = 12


THREADING = ("OMP_", "KMP_", "GOMP_", "MKL_")
"""Prefixes of the environment variables that control how threads work and wait."""
AS_THE_COMMAND = {"OMP_WAIT_POLICY": "PASSIVE"}
"""The setting that `menon` uses: waiting threads sleep. It is good for threads that work independently and
slows those that share operations, so other sides keep the default."""


@dataclass(frozen=True)
class Process:
    """How a worker is started; equal processes share a worker."""

    module: str
    """The module in this package that is run as a program."""
    start: Mapping[str, Any] = field(default_factory=dict)
    """The first line that it gets: the arguments of what it builds."""
    python: str = sys.executable
    """The interpreter of the environment in which the side is installed."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables added to the caller's environment, from which those about threads are removed."""
    checkout: str = ""
    """Folder of the Menon checkout whose `benchmarks` and `src` the worker runs; this one if empty."""

    @property
    def name(self) -> str:
        return json.dumps(
            [self.module, self.python, self.start, self.environment, self.checkout], sort_keys=True
        )


class Worker:
    """A running side. Between requests its whole process group is stopped, so a side that spins while it
    waits takes nothing from the other."""

    def __init__(self, process: Process, folder: Path) -> None:
        self.process = process
        self.log = Path(tempfile.mkstemp(prefix=f"{process.module}-", suffix=".log", dir=folder)[1])
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(THREADING)}
        home = Path(process.checkout) / "benchmarks" if process.checkout else HERE.parent
        path = os.pathsep.join([str(home), str(home.parent / "src"), os.environ.get("PYTHONPATH", "")])
        with self.log.open("w") as log:
            try:
                self._popen = subprocess.Popen(
                    [process.python, "-m", f"{HERE.name}.{process.module}"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                    env=inherited | {"PYTHONPATH": path} | dict(process.environment),
                )
            except OSError as error:
                raise UserError(
                    f"{process.python} cannot be started ({error.strerror}); name the interpreter itself"
                ) from None
        self._started = False

    def __call__(self, **request: Any) -> dict[str, Any]:
        if not self._started:
            self._ask(dict(self.process.start))
            self._started = True
        self._signal(signal.SIGCONT)
        return self._ask(request)

    def close(self) -> None:
        self._signal(signal.SIGKILL)
        self._popen.wait()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.write(json.dumps(request) + "\n")
            self._popen.stdin.flush()
        line = self._popen.stdout.readline()
        if not line:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
            raise UserError(
                f"{self.process.module} under {self.process.python} has ended; the last lines of its log "
                f"are:\n{last}"
            )
        self._signal(signal.SIGSTOP)
        return json.loads(line)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)


class Crew:
    """Workers by process, started when first asked for, and anew when asked after they have ended. `with
    Crew() as crew:` ends them all."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="menon-bench-")
        self.folder = Path(self._folder.name)
        """Folder for models and logs; it is removed with the crew."""
        self._workers: dict[str, Worker] = {}

    def ask(self, process: Process, **request: Any) -> dict[str, Any]:
        if process.name not in self._workers:
            self._workers[process.name] = Worker(process, self.folder)
        try:
            return self._workers[process.name](**request)
        except UserError:
            self._workers.pop(process.name).close()
            raise

    def keep(self, processes: list[Process]) -> None:
        """Ends the workers of all other processes, to free the memory of settings that lost a scan."""
        names = {process.name for process in processes}
        for name in [name for name in self._workers if name not in names]:
            self._workers.pop(name).close()

    def __enter__(self) -> "Crew":
        signal.signal(
            signal.SIGTERM, lambda *_: sys.exit("stopped")
        )  # a stopped worker would outlive a driver that just dies
        return self

    def __exit__(self, *error: object) -> None:
        self.keep([])
        self._folder.cleanup()
