"""The heartbeat file of a run (`processes.supervisor` writes it): what each worker process has to do."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from menon.record import disk


class WorkerLine(TypedDict):
    """A worker process, such as a sampler or a rank."""

    name: str
    pid: int
    task: str
    """What it has to do; "": it waits for work."""
    heard_ago: float
    """Seconds from its last message to the look."""
    progress_ago: float
    """Seconds from its last message that was not only a sign of life to the look."""
    ended_for: str
    """Why it was ended; "" if it was not."""


class Heartbeat(TypedDict):
    """A look at all workers of a run."""

    controller: int
    """The pid of the process that trains."""
    looked_ago: float
    """Seconds since the look. While the run goes on there are two a second; after its end it is the last."""
    workers: list[WorkerLine]


def read_heartbeat(file: Path) -> Heartbeat | None:
    """None: there is no such file, or it is damaged."""
    found = disk.read_json(file)
    try:
        return {
            "controller": int(found["controller"]),
            "looked_ago": max(0.0, time.time() - float(found["time"])),
            "workers": [worker_line(one) for one in found["workers"]],
        }
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def worker_line(found: Mapping[str, Any]) -> WorkerLine:
    return {
        "name": str(found["name"]),
        "pid": int(found["pid"]),
        "task": str(found["task"]),
        "heard_ago": float(found["heard_ago"]),
        "progress_ago": float(found["progress_ago"]),
        "ended_for": str(found["ended_for"]),
    }
