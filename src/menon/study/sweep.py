"""Runs arms with several seeds by the command, each in its own folder, resumable at any point.  An arm is a
name and the words of `menon train`. Finished runs are not repeated, so a sweep can be stopped and started.
All arms run with the first seed, then all with the second, so that an interrupted sweep still compares arms
with the same seeds.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import mpmath

from menon.record.reader import RunView

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
ctx = mpmath.MPContext()  # a separate context, because other code may set the precision of the shared one
ctx.dps = 30


@dataclass(frozen=True)
class Arm:
    """One of the settings that are compared."""

    name: str
    words: tuple[str, ...]
    """Words of `menon train`: a recipe and key=value."""


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
        """Trains or resumes the run up to that many steps; False if the command failed. Its output goes to
        FOLDER/NAME-SEED.log."""
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
            return (
                subprocess.run(
                    command, env=os.environ | ONE_THREAD, stdout=log, stderr=log, check=False
                ).returncode
                == 0
            )


def cells_of(arms: Iterable[Arm], seeds: Sequence[int], folder: Path) -> list[Cell]:
    """All arms with the first seed, then with the second, and so on."""
    arms = list(arms)
    folder.mkdir(parents=True, exist_ok=True)
    return [Cell(arm, seed, folder) for seed in seeds for arm in arms]


def sweep(
    cells: Sequence[Cell], steps: Callable[[Cell], int], jobs: int, after: Callable[[Cell], None]
) -> None:
    """Trains every cell to its number of steps, `jobs` at a time, one thread each; `after` is called with
    each that is done."""

    def one(cell: Cell) -> None:
        ok = cell.train(steps(cell))
        print(f"{cell.path.name}: {'done' if ok else 'failed, see its log'}", flush=True)
        after(cell)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, cells))


def by_arm(cells: Iterable[Cell]) -> Iterator[tuple[Arm, list[Cell]]]:
    """The arms in their order, each with those of its cells that have a report."""
    arms: dict[str, list[Cell]] = {}
    cells = list(cells)
    for cell in cells:
        arms.setdefault(cell.arm.name, [])
        if cell.report is not None:
            arms[cell.arm.name].append(cell)
    first = {cell.arm.name: cell.arm for cell in reversed(cells)}
    for name, found in arms.items():
        yield first[name], found


def mean_text(values: Sequence[float], digits: int = 3) -> str:
    """The mean and, over two seeds or more, the half width of its 95 % interval.

    >>> mean_text([0.5, 0.7, 0.6])
    '0.600 ± 0.248'
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    if len(known) < 2:
        return f"{known[0]:.{digits}f}"
    return f"{mean(known):.{digits}f} ± {half_width(known):.{digits}f}"


def half_width(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean, by Student's t; infinite for a single value."""
    if len(values) < 2:
        return math.inf
    return t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))


@cache
def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with `freedom` degrees of freedom, to the precision of a float.

    It solves P(|T| > t) = I_x(freedom / 2, 1 / 2) = 5 % with x = freedom / (freedom + t^2), where I is the
    regularised incomplete beta function (Abramowitz and Stegun 26.7.1). The solution falls from 12.71 at one
    degree to 1.96.

    >>> round(t_quantile(2), 3)
    4.303
    """

    def excess(t: Any) -> Any:
        x = freedom / (freedom + t * t)
        return ctx.betainc(ctx.mpf(freedom) / 2, 0.5, 0, x, regularized=True) - ctx.mpf("0.05")

    return float(ctx.findroot(excess, (1.9, 13), solver="anderson"))
