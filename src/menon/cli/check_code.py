"""`menon check code FILE.jsonl`: does the code reward say what each case expects, and does anything get out
of the sandbox?"""

import os
import re
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menon.cli.json_lines import json_lines
from menon.errors import UserError
from menon.reward.code.rows import suite_of
from menon.reward.code.suite import BadTests
from menon.reward.code.tests import BrokenTest, CodeTests, Run
from menon.sandbox.launch import SandboxError
from menon.sandbox.layers import pool, require
from menon.sandbox.watch import descendants

GROWTH_MB = 256
"""If the grader takes more memory than this for one case, model code has filled it: that counts as an
escape."""
REQUIRED = ("id", "solution", "tests", "expected")


@dataclass
class Judged:
    """One case with the outcome that the reward gave it, and the escapes that were seen."""

    case: Mapping[str, Any]
    outcome: str
    why: str
    seconds: float
    escapes: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        accepted = [self.case["expected"], *(self.case.get("also_accepted") or ())]
        limit = float(self.case.get("must_return_within_s") or "inf")
        wrong = (
            []
            if self.outcome in accepted
            else [f"expected {' or '.join(accepted)}, got {self.outcome} ({self.why})"]
        )
        late = [f"took {self.seconds:.1f} s of {limit:g} s"] if self.seconds > limit else []
        return [*wrong, *late, *(f"ESCAPE: {escape}" for escape in self.escapes)]


def check_code(path: str, sandbox: str = "full") -> int:
    """Judges the cases of a file (fields as in docs/sandbox.md), prints those that go wrong, and counts;
    returns 0 if all are right.

    UserError: the file cannot be read, or the sandbox lacks a layer.
    """
    cases = read_cases(Path(path))
    print(f"sandbox: {require(sandbox)}", flush=True)
    began = time.monotonic()
    right = escapes = 0
    for case in cases:
        judged = check_case(case, sandbox)
        right += not judged.faults
        escapes += len(judged.escapes)
        if judged.faults:
            print(f"{case['id']} {case.get('name', '')}: {'; '.join(judged.faults)}", flush=True)
    print(f"{len(cases)} cases in {time.monotonic() - began:.1f} s")
    print(f"right={right} of={len(cases)} escapes={escapes}")
    return 0 if right == len(cases) else 1


def read_cases(path: Path) -> list[dict[str, Any]]:
    """The cases of a JSON-lines file; UserError if it cannot be read or a case lacks a field."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    cases = []
    for number, case in json_lines(path, data):
        missing = [name for name in REQUIRED if not isinstance(case, dict) or name not in case]
        if missing:
            raise UserError(f"{path}, line {number}: no '{missing[0]}'; a case has {', '.join(REQUIRED)}")
        cases.append(case)
    if not cases:
        raise UserError(f"{path} is empty; write one case per line")
    return cases


def check_case(case: Mapping[str, Any], sandbox: str) -> Judged:
    """Runs one case in the sandbox and judges it."""
    most_s = float(case.get("must_return_within_s") or 60.0)
    time_s = float(case.get("timeout_s") or 6.0)
    wall_s = min(2.5 * time_s, most_s - 1) if most_s > 1 else most_s
    reward = CodeTests(
        compare="lines",
        time_s=time_s,
        wall_s=wall_s,
        memory_mb=int(case.get("memory_mb") or 512),
        sandbox=sandbox,
    )
    escapes: list[str] = []
    with ExitStack() as surroundings:
        surroundings.enter_context(environment((case.get("setup") or {}).get("env") or {}))
        surroundings.enter_context(listening(case.get("setup") or {}, escapes))
        surroundings.enter_context(watching(case, sandbox, escapes))
        began = time.monotonic()
        outcome, why = outcome_of(reward, case)
        seconds = time.monotonic() - began
    accepted = [case["expected"], *(case.get("also_accepted") or ())]
    if case.get("hostile") and outcome == "pass" and "pass" not in accepted:
        escapes.append("a hostile program passed")
    return Judged(case, outcome, why, seconds, escapes)


def outcome_of(reward: CodeTests, case: Mapping[str, Any]) -> tuple[str, str]:
    """The outcome that the reward gives a case, and why."""
    try:
        run: Run = reward.run(str(case["solution"]), suite_of(case))
    except (BadTests, BrokenTest, SandboxError) as error:
        return "error", str(error)
    return run.outcome, run.why


# Things that a program must not be able to do


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables, and restores the old ones afterwards."""
    before = dict(os.environ)
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def watching(case: Mapping[str, Any], sandbox: str, escapes: list[str]) -> Iterator[None]:
    """Adds to `escapes` the processes and files that are there afterwards and were not before, and memory
    that the grader took."""
    solution = str(case["solution"])
    files, processes, memory = names_here(), set(descendants(())), peak_mb()
    yield
    keepers = {kept.process.pid for kept in pool(sandbox).idle} if "://" not in sandbox else set()
    left = set(descendants(())) - processes - keepers
    if left:
        escapes.append(f"{len(left)} processes are left")
    for place, names in names_here().items():
        new = [name for name in names - files.get(place, set()) if named_in(name, solution)]
        escapes += [f"{place}/{name} was written" for name in new]
    escapes += [
        f"{kept.root} holds files"
        for kept in (pool(sandbox).idle if keepers else ())
        if os.listdir(kept.root)
    ]
    if peak_mb() - memory > GROWTH_MB:
        escapes.append(f"the grader took {peak_mb() - memory:.0f} MB")


def names_here() -> dict[str, set[str]]:
    """The entries of the places that programs write to."""
    found = {}
    for place in {str(Path.cwd()), str(Path.home()), tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"}:
        with suppress(OSError):
            found[place] = set(os.listdir(place))
    return found


def named_in(name: str, solution: str) -> bool:
    """Whether the solution names this new file, perhaps up to a number. Other programs write to the same
    places, so a file that it does not name is not counted."""
    stem = re.sub(r"\d+", "", name)
    return len(stem) > 2 and (name in solution or stem in solution)


def peak_mb() -> float:
    """The peak memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def listening(setup: Mapping[str, Any], escapes: list[str]) -> Iterator[None]:
    """Runs a server on each local port that `setup` names; a program that reaches one of them has escaped."""
    servers = []
    for port in (port for key, value in setup.items() if "listen" in key for port in ports(value)):
        try:
            server = socket.create_server(("127.0.0.1", port))
        except OSError:
            continue  # another server listens there already, so there is one to reach
        servers.append(server)
        threading.Thread(target=count_visits, args=(server, port, escapes), daemon=True).start()
    try:
        yield
    finally:
        for server in servers:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()


def ports(value: Any) -> list[int]:
    """
    >>> ports({"host": "127.0.0.1", "port": 8765}), ports("127.0.0.1:8765"), ports(8765)
    ([8765], [8765], [8765])
    """
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int):
        return [value]
    if isinstance(value, str):
        return [int(value.rpartition(":")[2])] if value.rpartition(":")[2].isdecimal() else []
    inner = value.values() if isinstance(value, Mapping) else value
    return [port for item in inner for port in ports(item)]


def count_visits(server: socket.socket, port: int, escapes: list[str]) -> None:
    """Adds each connection to a local server to `escapes`."""
    with suppress(OSError):
        while True:
            visitor, _ = server.accept()
            escapes.append(f"a program reached 127.0.0.1:{port}")
            visitor.close()
