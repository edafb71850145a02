"""Does `menon compare` claim too much, and does it find what it says that it finds?

    python scripts/compare_table.py [--simulations 10000]

First table: sets of runs without a difference of means, of many kinds; the share of comparisons that claim
one, of the intervals that hold 0, and what the permutation test alone would claim. Second table: known
differences; the power that `study.power` states beside the share that is found in new simulations. Third:
the number of seeds that it says would decide, tried. Last line: `largest=X` claims of the first table.
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from menon.study.permutation import LEVEL, compared, holm
from menon.study.power import Effect, power, seeds_needed

Floats = NDArray[np.float64]
Sides = tuple[Floats, Floats]


def equal(rng: Generator, runs: int, n: int, m: int) -> Sides:
    return rng.normal(size=(runs, n)), rng.normal(size=(runs, m))


def unequal(rng: Generator, runs: int, n: int, m: int) -> Sides:
    """The first set varies five times as much."""
    return 5 * rng.normal(size=(runs, n)), rng.normal(size=(runs, m))


def skewed(rng: Generator, runs: int, n: int, m: int) -> Sides:
    return rng.exponential(size=(runs, n)), rng.exponential(size=(runs, m))


def skewed_one(rng: Generator, runs: int, n: int, m: int) -> Sides:
    """Only the first set is skewed; means and deviations are equal."""
    return rng.exponential(size=(runs, n)) - 1, rng.normal(size=(runs, m))


def heavy(rng: Generator, runs: int, n: int, m: int) -> Sides:
    return rng.standard_t(3, size=(runs, n)), rng.standard_t(3, size=(runs, m))


def near_one(rng: Generator, runs: int, n: int, m: int) -> Sides:
    """Accuracies of 200 questions, .976 on average, with ties."""
    return tuple(rng.binomial(200, rng.beta(60, 1.5, size=(runs, k))) / 200 for k in (n, m))  # type: ignore[return-value]


def collapsed(rng: Generator, runs: int, n: int, m: int) -> Sides:
    """One run of five fails outright."""
    return tuple(
        np.where(rng.random((runs, k)) < 0.2, 0.05, 0.8) + 0.02 * rng.normal(size=(runs, k)) for k in (n, m)
    )  # type: ignore[return-value]


def shared(rng: Generator, runs: int, n: int, m: int) -> Sides:
    """Half of the variance belongs to the seed, in both sets."""
    seed = rng.normal(size=(runs, n))
    return seed + rng.normal(size=(runs, n)), seed + rng.normal(size=(runs, n))


KINDS: tuple[tuple[str, Callable[[Generator, int, int, int], Sides]], ...] = (
    ("normal, equal spreads", equal),
    ("normal, spreads 5 : 1", unequal),
    ("skewed (exponential)", skewed),
    ("skewed against normal", skewed_one),
    ("heavy tails (t, 3 degrees)", heavy),
    ("accuracies near 1, ties", near_one),
    ("a run of five fails", collapsed),
    ("normal, seeds shared", shared),
)
SIZES = (
    (3, 3, False),
    (4, 4, False),
    (5, 5, False),
    (3, 8, False),
    (10, 10, False),
    (6, 6, True),
    (10, 10, True),
)


def without_difference(simulations: int) -> float:
    """Prints the first table; returns its largest share of claims."""
    print(
        "| kind | runs | claims | permutation test alone | interval holds 0 |\n| -- | -- | --: | --: | --: |"
    )
    largest = 0.0
    for number, (name, make) in enumerate(KINDS):
        for n, m, paired in SIZES:
            if make is shared and n != m:
                continue
            rng = np.random.default_rng([number, n, m, paired])
            a, b = make(rng, simulations, n, m)
            found = compared(a, b, paired)
            claims = float(found.claimed().mean())
            largest = max(largest, claims)
            holds = float(((found.low <= 0) & (found.high >= 0)).mean())
            sides = f"{n} pairs" if paired else f"{n} : {m}"
            alone = float((found.p <= LEVEL).mean())
            print(f"| {name} | {sides} | {claims:.4f} | {alone:.4f} | {holds:.4f} |", flush=True)
    rng = np.random.default_rng(99)
    sets = rng.normal(size=(4, simulations // 5, 5))
    tests = [compared(sets[0], other, False) for other in sets[1:]]
    wrong = 0
    for row in range(simulations // 5):
        corrected = holm([float(one.p[row]) for one in tests])
        wrong += any(one.claimed()[row] and p <= LEVEL for one, p in zip(tests, corrected, strict=True))
    share = 5 * wrong / simulations
    print(f"| three sets of 5 against a fourth, any claim after Holm | 5 : 5 | {share:.4f} |  |  |")
    return largest


def with_difference(simulations: int) -> None:
    """Prints the tables of power."""
    print("\n| true difference | spreads | runs | stated power | found |\n| -- | -- | -- | --: | --: |")
    rng = np.random.default_rng(7)
    for difference, first, second, n, paired in (
        *((d, 1.0, 1.0, n, False) for d in (1.0, 2.0, 3.0) for n in (4, 5, 8, 12)),
        *((2.0, 1.0, 3.0, n, False) for n in (5, 8, 16)),
        *((1.0, 1.0, 0.0, n, True) for n in (6, 8, 12)),
    ):
        said = power(Effect(difference, first, second, paired), n, runs=2000)
        a = np.zeros((simulations, n)) if paired else first * rng.normal(size=(simulations, n))
        b = difference + (first if paired else second) * rng.normal(size=(simulations, n))
        found = float(compared(a, b, paired).claimed().mean())
        spreads = "of differences 1" if paired else f"{first:g}, {second:g}"
        sides = f"{n} pairs" if paired else f"{n} : {n}"
        print(f"| {difference:g} | {spreads} | {sides} | {said:.3f} | {found:.3f} |", flush=True)
    print("\n| true difference | spreads | seeds that it names | found with them | with one fewer |")
    print("| -- | -- | --: | --: | --: |")
    for difference in (0.75, 1.0, 1.5, 2.5):
        seeds = seeds_needed(Effect(difference, 1.0, 1.0, False))
        assert seeds is not None
        shares = []
        for n in (seeds, seeds - 1):
            a, b = rng.normal(size=(2, simulations, n))
            shares.append(float(compared(a, b + difference, False).claimed().mean()))
        print(f"| {difference:g} | 1, 1 | {seeds} | {shares[0]:.3f} | {shares[1]:.3f} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=10_000, help="comparisons of each kind")
    given = parser.parse_args()
    largest = without_difference(given.simulations)
    with_difference(max(1, given.simulations // 5))
    print(f"largest={largest:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
