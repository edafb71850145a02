"""Arms times seeds: every run through the command, each in a folder of its own, resumable at any point.

An arm is a name and the words of `menon train`. What is finished is not run again, so a sweep can be stopped and started; all
arms run with the first seed, then all with the second, so that a sweep cut short still compares like with like.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from menon.record.reader import RunView

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t with 1 to 9 degrees of freedom."""


@dataclass(frozen=True)
class Arm:
    """One thing that is compared."""

    name: str
    words: tuple[str, ...]
    """Of `menon train`: a recipe and key=value."""


@dataclass(frozen=True)
class Cell:
    """One arm with one seed."""

    arm: Arm
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / f"{self.arm.name}-{self.seed}"

    @property
    def view(self) -> RunView:
        """The run as it is now."""
        return RunView(self.path)

    @property
    def report(self) -> dict[str, Any] | None:
        return None if (report := self.view.report) is None else dict(report)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The metrics, one line per step."""
        return self.view.metrics

    def train(self, steps: int) -> bool:
        """To that many steps, from where the run is; False where the command failed. It prints into FOLDER/NAME-SEED.log."""
        report = self.report
        if report is not None and report["steps"] >= steps:
            return True
        if self.view.layout.about.exists():
            # A run that was stopped may be further already.
            words = ["--resume", str(self.path), f"steps={max(steps, len(self.lines))}"]
        else:
            words = [*self.arm.words, f"seed={self.seed}", f"steps={steps}", "threads=1", f"out={self.path}"]
        with open(f"{self.path}.log", "a") as log:
            command = [sys.executable, "-m", "menon", "train", *words]
            return subprocess.run(command, env=os.environ | ONE_THREAD, stdout=log, stderr=log, check=False).returncode == 0


def cells_of(arms: Iterable[Arm], seeds: Sequence[int], folder: Path) -> list[Cell]:
    arms = list(arms)
    folder.mkdir(parents=True, exist_ok=True)
    return [Cell(arm, seed, folder) for seed in seeds for arm in arms]


def sweep(cells: Sequence[Cell], steps: Callable[[Cell], int], jobs: int, after: Callable[[Cell], None]) -> None:
    """Trains every cell to its number of steps, `jobs` at a time, one thread each; `after` hears of each that is done."""

    def one(cell: Cell) -> None:
        ok = cell.train(steps(cell))
        print(f"{cell.path.name}: {'done' if ok else 'failed, see its log'}", flush=True)
        after(cell)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, cells))


def by_arm(cells: Iterable[Cell]) -> Iterator[tuple[Arm, list[Cell]]]:
    """Arms in their order with those of their cells that have a report."""
    arms: dict[str, list[Cell]] = {}
    cells = list(cells)
    for cell in cells:
        arms.setdefault(cell.arm.name, [])
        if cell.report is not None:
            arms[cell.arm.name].append(cell)
    first = {cell.arm.name: cell.arm for cell in reversed(cells)}
    for name, found in arms.items():
        yield first[name], found


def shown(values: Sequence[float], digits: int = 3) -> str:
    """The mean and, over two seeds or more, the half width of its 95 % interval.

    >>> shown([0.5, 0.7, 0.6])
    '0.600 ± 0.248'
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    if len(known) < 2:
        return f"{known[0]:.{digits}f}"
    return f"{mean(known):.{digits}f} ± {half_width(known):.{digits}f}"


def half_width(values: Sequence[float]) -> float:
    """Of the 95 % interval of the mean by Student's t, with more than ten values a little too wide; of one value infinite."""
    if len(values) < 2:
        return math.inf
    return STUDENT[min(len(values) - 2, len(STUDENT) - 1)] * stdev(values) / math.sqrt(len(values))
