"""Watches a run from outside: its time, threads and files, measured so that a busy machine does not change
the verdict."""

import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from menon.sandbox.limits import Limits
from menon.sandbox.private import Private

TICK = 0.02
"""Seconds between two measurements."""
DISK_TICKS = 3
"""Ticks between two measurements of a plain directory, which is walked."""


@dataclass(frozen=True)
class Ending:
    """How a run ended, and what it used."""

    why: str
    """"exit", or the limit that it hit: "timeout", "tasks", "disk"; "abandoned" if the program that asked has
    ended."""
    seconds: float


def watch(
    members: Sequence[int], last: int, limits: Limits, private: Private, owner: int, count_children: bool
) -> Ending:
    """Waits until the process `last` ends or one of `members` goes over a limit. `owner`: a descriptor that
    becomes readable when the program that asked has ended. `count_children`: look for processes that members
    started, which the filter otherwise refuses."""
    began = time.monotonic()
    poll = select.poll()
    ended = os.pidfd_open(last)
    try:
        poll.register(ended, select.POLLIN)
        poll.register(owner, select.POLLIN | select.POLLHUP)
        tick = 0
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(1000 * TICK)]
            wall = time.monotonic() - began
            if ended in ready:
                return Ending("disk" if private.is_over(()) else "exit", wall)
            if owner in ready:
                return Ending("abandoned", wall)
            tick += 1
            if why := over(members, wall, limits, count_children):
                return Ending(why, wall)
            if (private.in_memory or tick % DISK_TICKS == 0) and private.is_over(members):
                return Ending("disk", wall)
    finally:
        os.close(ended)


def over(members: Sequence[int], wall: float, limits: Limits, count_children: bool) -> str:
    """The limit of time or tasks that a run is over, or nothing."""
    if any(cpu_seconds(pid) > limits.time_s for pid in members):
        return "timeout"
    if wall > limits.wall_s or wall - sum(map(waited_seconds, members)) > limits.time_s:
        return "timeout"
    everyone = [*members, *descendants(members)] if count_children else members
    if sum(map(threads, everyone)) > limits.tasks:
        return "tasks"
    return ""


def ends(pid: int, seconds: float) -> bool:
    """Whether a child that has not been reaped has ended, or does within some seconds."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def cpu_seconds(pid: int) -> float:
    """CPU seconds of all threads of a process, to the nanosecond; 0 if it has ended."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # how Linux numbers the clock of another process
    except OSError:
        return 0.0


def waited_seconds(pid: int) -> float:
    """Seconds that a process was ready to run and had no core, for the thread that waited longest."""
    waited = 0
    with suppress(OSError, ValueError, IndexError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            waited = max(waited, int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[1]))
    return waited / 1e9


def threads(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[17]) if fields else 0


def descendants(pids: Sequence[int]) -> list[int]:
    """Processes below these, found by their parents; those whose parent has died become children of the
    keeper."""
    parents = {
        int(name): int(fields[1])
        for name in os.listdir("/proc")
        if name.isdecimal() and (fields := _stat(int(name)))
    }
    found: list[int] = []
    level = {os.getpid(), *pids}
    while level:
        level = {
            pid for pid, parent in parents.items() if parent in level and pid not in found and pid not in pids
        }
        found += level
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; [] if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return []


def end_all(seconds: float = 5.0) -> int:
    """Kills all descendants of this process (it is their subreaper, so orphans become its children).  Returns
    how many were still running when the run was over.
    """
    deadline = time.monotonic() + seconds
    found = 0
    while time.monotonic() < deadline:
        for pid in descendants(()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                found += 1
        except ChildProcessError:
            return found
        time.sleep(0.001)
    raise RuntimeError("a process of the sandbox cannot be ended")
