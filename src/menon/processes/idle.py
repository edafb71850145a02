"""Notices worker processes that are to compute and do not."""

import os
import time
from pathlib import Path

SILENT = 60.0
"""A process that is to write and uses no CPU for so many seconds is stopped or hangs."""


class Idle:
    """Notices processes that wait or are stopped, by their CPU time. Without /proc it notices nothing."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[float, float]] = {}
        """pid -> its CPU time, and when it was first seen to be that."""

    def too_long(self, pid: int) -> bool:
        """Whether a process has not computed for `SILENT` seconds, as far as this has looked."""
        spent, now = cpu_seconds(pid), time.monotonic()
        if spent is None or self.seen.get(pid, (-1.0, 0.0))[0] != spent:
            self.seen[pid] = (-1.0 if spent is None else spent, now)
        return now - self.seen[pid][1] > SILENT


def cpu_seconds(pid: int) -> float | None:
    """The CPU time of a process; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
