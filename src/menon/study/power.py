"""How often a comparison over seeds finds a difference that is there, and how many seeds would decide."""

from dataclasses import dataclass

import numpy as np

from menon.streams import stream
from menon.study.permutation import LEVEL, PAIRS, compared

RUNS = 400
"""Simulated comparisons for one number of seeds; a power of .8 is known to .02."""
ARRANGEMENTS = 999
WANTED = 0.8
"""The power that is asked for."""
LARGEST = 128
"""Most seeds a side that are looked at."""


@dataclass(frozen=True)
class Effect:
    """A difference of means, and the deviations of what it is measured by."""

    difference: float
    deviation_a: float
    deviation_b: float
    """With `paired` not used: `deviation_a` is that of the differences."""
    paired: bool


def power(effect: Effect, seeds: int, level: float = LEVEL, runs: int = RUNS) -> float:
    """The share of `runs` simulated comparisons of `seeds` runs a side, normally distributed, in which the
    very rule of `permutation` claims the difference."""
    rng = stream(0, "power", seeds)
    first, second = rng.standard_normal((2, runs, seeds))
    if effect.paired:
        a, b = np.zeros((runs, seeds)), effect.deviation_a * first
    else:
        a, b = effect.deviation_a * first, effect.deviation_b * second
    return float(compared(a, b + effect.difference, effect.paired, ARRANGEMENTS, 500).claimed(level).mean())


def seeds_needed(effect: Effect, level: float = LEVEL, wanted: float = WANTED) -> int | None:
    """The fewest seeds a side with which the effect is found with probability `wanted`, if it is as large as
    this and the runs vary as much; None: more than `LARGEST`."""
    low, high = 1, PAIRS if effect.paired else 4  # too few; tried
    while power(effect, high, level) < wanted:
        low, high = high, 2 * high
        if high > LARGEST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if power(effect, middle, level) >= wanted:
            high = middle
        else:
            low = middle
    return high
