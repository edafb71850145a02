"""How far a judge agrees with labels, and what its probabilities are worth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10


def kappa(said: Sequence[bool], labels: Sequence[bool]) -> float:
    """Cohen's kappa (1960): (p_o - p_e) / (1 - p_e). p_o is the share of equal decisions, p_e that of two
    judges who decide at random, each yes as often as these do. 1 is full agreement, 0 what chance gives; NaN
    without a decision, or where both always say the same word, because chance agrees fully then.

    >>> kappa([True, True, False, False], [True, False, False, False])
    0.5
    """
    n, equal = len(labels), sum(a == b for a, b in zip(said, labels, strict=True))
    by_chance = sum(said) * sum(labels) + (n - sum(said)) * (n - sum(labels))  # n squared times p_e
    return (n * equal - by_chance) / (n * n - by_chance) if by_chance < n * n else math.nan


@dataclass(frozen=True)
class Bin:
    """Decisions whose probability of yes is in one interval."""

    low: float
    high: float
    count: int
    expected: float
    """Their mean probability of yes."""
    observed: float
    """The share of them that is labelled yes."""


def calibration(p_yes: Sequence[float], labels: Sequence[bool], bins: int = BINS) -> list[Bin]:
    """The bins that hold something, of equal width from 0 to 1; 1 is in the last one.

    >>> [(b.count, b.expected, b.observed) for b in calibration([0.25, 0.75, 1.0], [False, False, True], 2)]
    [(1, 0.25, 0.0), (2, 0.875, 0.5)]
    """
    p, right = np.asarray(p_yes, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    place = np.minimum((p * bins).astype(int), bins - 1)
    inside = [(n, place == n) for n in sorted(set(place.tolist()))]
    return [
        Bin(
            number / bins,
            (number + 1) / bins,
            int(here.sum()),
            float(p[here].mean()),
            float(right[here].mean()),
        )
        for number, here in inside
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error (Naeini et al. 2015): the mean of |expected - observed| over the bins,
    each weighted by what it holds; NaN without anything.

    >>> calibration_error(calibration([0.25, 0.75, 1.0], [False, False, True], 2))
    0.3333333333333333
    """
    count = sum(each.count for each in bins)
    gaps = sum(each.count * abs(each.expected - each.observed) for each in bins)
    return gaps / count if count else math.nan
