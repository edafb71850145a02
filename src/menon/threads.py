"""How many threads a run gets. This is decided before torch is imported, because OpenMP reads its environment
once.

On a shared machine two spinning threads can be many times slower than one, so waiting threads sleep (PASSIVE)
and the count leaves room for whatever else is running.
"""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menon.base import BASES
from menon.errors import UserError
from menon.settings import setting

SMALL_MODEL_CAP = 4
"""The most threads that a small model gets by default, because a step has too little work for more. A setting
can ask for more, up to what `engines.machine` allows a small model."""
SPARE, SPARE_SMALL = 0.25, 0.75
"""The share of a core that other programs may use before the core counts as taken. The second number is for a
small model, whose threads work independently and do not wait for the slowest one in every operation."""
BUSY_SECONDS = 0.2
"""How long the machine is watched before its free cores are counted."""
QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class Threads:
    count: int
    reason: str
    """The reason for this count, for the header of the run."""


def choose(settings: Mapping[str, Any]) -> Threads:
    """Chooses the number of threads from raw settings (`threads`, `model`); a number that the user asks for
    is always used."""
    asked = setting(settings, "threads")
    if asked is not None:
        if isinstance(asked, bool) or not str(asked).isdecimal() or int(asked) < 1:
            raise UserError(
                f"threads is {asked!r}; give a whole number of at least 1, or leave it out to use what is "
                "free"
            )
        return Threads(int(asked), reason_for(int(asked)))
    cores, busy = cores_here(), busy_cores()
    small = str(setting(settings, "model", "base")) in BASES
    fits = max(1, int(cores - busy + (SPARE_SMALL if small else SPARE)))
    if small and fits > SMALL_MODEL_CAP:
        return Threads(SMALL_MODEL_CAP, "enough for a small model")
    return Threads(fits, f"{plural(cores, 'core')}, {busy:.1f} busy")


def reason_for(asked: int) -> str:
    """Why there are as many threads as the user asks for, and what is wrong with it."""
    usable = min(logical_cores(), quota(QUOTA))
    if asked <= usable:
        return "as asked"
    return f"as asked, and {plural(usable, 'core')} here, so they wait for each other; leave threads out"


def plural(count: float, noun: str) -> str:
    return f"{count:g} {noun}" + ("" if count == 1 else "s")


def cores_here() -> float:
    """Cores that this process may use: physical ones, within its affinity and its container's quota."""
    import psutil

    logical = logical_cores()
    physical = psutil.cpu_count(logical=False) or logical
    return min(logical, physical, quota(QUOTA))


def logical_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quota(path: Path) -> float:
    """Cores granted by a control group's `cpu.max` file; infinite where there is none."""
    try:
        granted, period = path.read_text().split()
        return int(granted) / int(period)
    except (OSError, ValueError):
        return float("inf")


def busy_cores() -> float:
    """How many cores other processes are using now."""
    import psutil

    shares = psutil.cpu_percent(interval=BUSY_SECONDS, percpu=True)
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(shares))
    return sum(shares[core] for core in mine if core < len(shares)) / 100


def prepare(threads: Threads, device: str, environment: MutableMapping[str, str]) -> None:
    """Sets the environment variables that the numeric libraries read when they are loaded. A variable that
    the user has set is kept."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(threads.count)
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment.setdefault("KMP_BLOCKTIME", "0")
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    if device != "cpu":
        environment.setdefault(
            "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
        )  # cuBLAS repeats its results bit for bit only with it
