"""Do the intervals of `menon study forecast` hold what comes?

    python scripts/forecast_table.py [RUN ...] [--curves 300]

First synthetic runs of 60 steps of 256 answers: the sigmoid, with accuracies that are binomial or whose
errors remember the step before, and curves that are no sigmoid (two rises; one that falls after two thirds).
Then scores on a line in exp(entropy). Each law is fitted to the first third and half and asked about the last
point. Then the same of the runs that are named.
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from menon.record.reader import RunView
from menon.study.forecast import PARTS, line_designs, past, predict, risen, series, sigmoid_designs

Floats = NDArray[np.float64]
STEPS = np.arange(60.0)
ANSWERS = 256


def planted(rng: Generator) -> Floats:
    a, start, b, middle = (rng.uniform(*ends) for ends in ((0.5, 0.98), (0.05, 0.3), (0.8, 4), (5, 30)))
    share = risen(STEPS[None], np.array([[b, middle]]))[0]
    return np.asarray(start + (a - start) * share, dtype=np.float64)


def binomial(rng: Generator) -> Floats:
    return rng.binomial(ANSWERS, planted(rng)) / ANSWERS


def remembering(rng: Generator) -> Floats:
    """Errors of deviation .019 whose neighbours correlate by .6."""
    error = np.zeros(len(STEPS))
    for k in range(1, len(STEPS)):
        error[k] = 0.6 * error[k - 1] + 0.015 * rng.normal()
    return np.clip(planted(rng) + error, 0, 1)


def two_rises(rng: Generator) -> Floats:
    """A second sigmoid of half the height begins at step 35."""
    late = risen(np.maximum(STEPS - 35, 0)[None], np.array([[2.0, 8.0]]))[0]
    return rng.binomial(ANSWERS, np.clip(0.65 * planted(rng) + 0.3 * late, 0, 1)) / ANSWERS


def falling(rng: Generator) -> Floats:
    """The score falls by a half from step 40 on."""
    fall = 1 - 0.5 * np.clip((STEPS - 40) / 20, 0, 1)
    return rng.binomial(ANSWERS, planted(rng) * fall) / ANSWERS


KINDS: tuple[tuple[str, Callable[[Generator], Floats]], ...] = (
    ("sigmoid, binomial", binomial),
    ("sigmoid, errors that remember", remembering),
    ("no sigmoid: two rises", two_rises),
    ("no sigmoid: falls after two thirds", falling),
)


def of_sigmoids(curves: int) -> None:
    """Prints the rows of the sigmoid."""
    for number, (name, make) in enumerate(KINDS):
        for part, share in PARTS.items():
            rng = np.random.default_rng([number, 1])
            held, widths, errors = [], [], []
            for _ in range(curves):
                score = make(rng)
                n = math.ceil(share * len(score))
                one = predict(sigmoid_designs(STEPS[:n], STEPS[-1])[0], score[:n], 1.0)
                held.append(one.low <= score[-1] <= one.high)
                widths.append(one.high - one.low)
                errors.append(abs(one.value - score[-1]))
            row(name, part, float(np.mean(held)), widths, errors)


def of_entropies(curves: int) -> None:
    """Prints the rows of the law of entropy: a falls from .3, the entropy by a factor of 10."""
    for part, share in PARTS.items():
        rng = np.random.default_rng(9)
        held, widths, errors = [], [], []
        for _ in range(curves):
            first, tau = rng.uniform(0.3, 1.2), rng.uniform(8, 25)
            entropy = first * (0.1 + 0.9 * np.exp(-STEPS / tau)) * np.exp(0.03 * rng.normal(size=len(STEPS)))
            b = rng.uniform(0.7, 1.0)
            a = (b - rng.uniform(0.05, 0.3)) / math.exp(first)
            law = np.clip(b + a - a * np.exp(entropy), 0, 1)
            score = rng.binomial(ANSWERS, np.minimum(law, 0.99)) / ANSWERS
            n = math.ceil(share * len(score))
            one = predict(line_designs(entropy[:n], float(entropy[-1])), score[:n], 1.0)
            held.append(one.low <= score[-1] <= one.high)
            widths.append(one.high - one.low)
            errors.append(abs(one.value - score[-1]))
        row("law of entropy", part, float(np.mean(held)), widths, errors)


def row(name: str, part: str, held: float, widths: list[float], errors: list[float]) -> None:
    width, error = float(np.median(widths)), float(np.median(errors))
    print(f"| {name} | {part} | {held:.3f} | {width:.3f} | {error:.3f} |", flush=True)


def of_runs(folders: list[Path]) -> None:
    """Prints what both laws would have said of the end of each run."""
    print("\n| run | from the first | sigmoid | entropy, told at the end | measured |")
    print("| -- | -- | -- | -- | --: |")
    for folder in folders:
        name, *points = series(RunView.open(folder))
        for part, share in PARTS.items():
            one = past(part, share, *points, 1.0)
            cells = [
                "-"
                if "missing" in one[law]
                else f"{one[law]['value']:.3f} ({one[law]['low']:.3f} to {one[law]['high']:.3f})"
                + ("" if one[law]["held"] else ", missed")
                for law in ("sigmoid", "entropy")
            ]
            print(f"| {folder.name} ({name}) | {part} | {cells[0]} | {cells[1]} | {one['measured']:.3f} |")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--curves", type=int, default=300, help="synthetic runs of each kind")
    given = parser.parse_args()
    print("| curve | from the first | interval holds the last point | median width | median error |")
    print("| -- | -- | --: | --: | --: |")
    of_sigmoids(given.curves)
    of_entropies(given.curves)
    of_runs(given.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
