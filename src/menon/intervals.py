"""Intervals of a mean over questions, by the bootstrap."""

import numpy as np
from numpy.typing import NDArray

from menon.streams import stream

DRAWS = 1000
"""Bootstrap draws of an interval."""
LEVEL = 0.95
NORMAL = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""

Floats = NDArray[np.float64]


def interval(values_P: Floats, seed: int = 0, level: float = LEVEL) -> tuple[float, float]:
    """Bootstrap interval of the mean over problems: percentiles of `DRAWS` resampled means. NaN without a
    problem."""
    values_P = values_P[~np.isnan(values_P)]
    if not len(values_P):
        return np.nan, np.nan
    rng = stream(seed, "bootstrap", len(values_P))
    means = [values_P[rng.integers(len(values_P), size=len(values_P))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval_of_share(values_P: Floats, seed: int = 0, level: float = LEVEL) -> tuple[float, float]:
    """As `interval`, of numbers from 0 to 1. Where all are 0, or all 1, every resampled mean is the same; the
    exact binomial interval (Clopper and Pearson 1934) is given in its place, so that 5 right of 5 do not read
    as certainty.

    >>> [round(end, 3) for end in interval_of_share(np.ones(5))]
    [0.478, 1.0]
    """
    beyond = 1 - ((1 - level) / 2) ** (1 / max(1, len(values_P)))
    if len(values_P) and (values_P == 0).all():
        return 0.0, beyond
    if len(values_P) and (values_P == 1).all():
        return 1 - beyond, 1.0
    return interval(values_P, seed, level)
