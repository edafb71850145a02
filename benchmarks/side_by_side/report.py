"""Scans, alternation, medians and the lines that are printed."""

import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from menon.errors import UserError
from menon.threads import logical_cores as cores
from side_by_side.crew import Crew, Process


@dataclass(frozen=True)
class Setting:
    """One way in which a side can do the work."""

    label: str
    process: Process
    request: Mapping[str, Any] = field(default_factory=dict)


Measure = Callable[[Setting], float]
"""Seconds of doing the work once with a setting."""


def measure_with(crew: Crew, **work: Any) -> Measure:
    def measure(setting: Setting) -> float:
        return float(crew.ask(setting.process, **setting.request, **work)["seconds"])

    return measure


class Scan:
    """The fastest setting of a side so far. Each is tried twice, the first time to warm up, unless that time
    is already far slower, or so long that warming up is little of it. A setting that ends its worker is
    reported and skipped, unless all do."""

    def __init__(self, side: str, measure: Measure, shown: Callable[[float], str]) -> None:
        self.side, self.measure, self.shown = side, measure, shown
        self.seconds = math.inf
        self.best: Setting | None = None
        self.failure: UserError | None = None

    def __call__(self, settings: Sequence[Setting]) -> Setting:
        """Tries these settings, and returns the fastest of all that were tried."""
        for setting in settings:
            told = f"  scan  {self.side:<14} {setting.label:<44}"
            try:
                seconds = self.measure(setting)
                if seconds < min(HOPELESS * self.seconds, LONG):
                    seconds = min(seconds, self.measure(setting))
            except UserError as error:
                self.failure = error
                print(f"{told} ended: {str(error).splitlines()[-1]}", flush=True)
                continue
            print(f"{told} {self.shown(seconds)}", flush=True)
            if seconds < self.seconds:
                self.seconds, self.best = seconds, setting
        if self.best is None:
            raise self.failure or UserError(f"there is no setting to try for {self.side}")
        return self.best


HOPELESS = 1.6
"""Times as slow as the best: more than warming up costs."""
LONG = 30.0
"""Seconds of which warming up is little."""


def alternate(settings: Mapping[str, Setting], measure: Measure, repeats: int) -> dict[str, list[float]]:
    """Seconds by side: all sides once, then all again in the other order, and so on, so that a change of the
    machine's load meets all of them."""
    seconds: dict[str, list[float]] = {side: [] for side in settings}
    for turn in range(repeats):
        order = list(settings) if turn % 2 == 0 else list(settings)[::-1]
        for side in order:
            seconds[side].append(measure(settings[side]))
    return seconds


def times_faster(seconds: Mapping[str, Sequence[float]], ours: str, theirs: Sequence[str]) -> float:
    """Median time of the best of `theirs` over our median time; NaN where none of them took part."""
    present = [median(seconds[side]) for side in theirs if side in seconds]
    return min(present) / median(seconds[ours]) if present else float("nan")


def row(*cells: Any) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def spread(values: Sequence[float], form: str) -> str:
    """The median, followed by the smallest and the largest value."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def last_line(**ratios: float) -> str:
    """The last line, for other programs: `name=R name=R`, two decimals, nan where a side was absent."""
    return " ".join(f"{name}={ratio:.2f}" for name, ratio in ratios.items())


def machine() -> str:
    """The machine and its load in one line."""
    name, able = cpu("model name") or platform.processor() or platform.machine(), ", ".join(instructions())
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{name}{f' ({able})' if able else ''}, {cores()} cores, {memory:.0f} GiB, load {load:.1f}, "
        f"{time.strftime('%Y-%m-%d')}"
    )


def cpu(what: str) -> str:
    """What Linux says of the first core under a name; "" elsewhere."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(what)), "")


def instructions() -> list[str]:
    """Those that decide how fast products are, best first."""
    flags = cpu("flags").split()
    return [name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if name in flags]


def dtypes() -> tuple[str, ...]:
    """What can be the fastest here. A CPU without instructions for bfloat16 emulates it, far more slowly."""
    able = instructions()
    emulated = platform.machine() == "x86_64" and "amx_bf16" not in able and "avx512_bf16" not in able
    return ("float32",) if emulated else ("bfloat16", "float32")


def thread_counts() -> list[int]:
    """One, half of the cores, all of them; all first, for that is what most sides start with."""
    return sorted({1, max(1, cores() // 2), cores()}, reverse=True)
