"""Whether two methods differ beyond what their seeds explain: permutation tests, bootstrap intervals, the
probability of improvement, and Holm's correction.

Everything works on many comparisons at once (S of them), so that a simulation of a thousand comparisons and
one comparison of real runs are the same code. The unit is a run: what one run measured is one number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from menon.intervals import NORMAL, interval_of_share
from menon.streams import stream
from menon.study.seeds import t_quantile

Floats = NDArray[np.float64]

LEVEL = 0.05
"""Largest p with which a difference is claimed."""
MOST = 20_000
"""Arrangements up to which a test is exact; beyond it `SAMPLED` of them are drawn."""
SAMPLED = 9_999
DRAWS = 2_000
"""Bootstrap draws of an interval."""
PAIRS = 6
"""Fewest pairs with which seeds are compared pair by pair: 2 / 2^6 is the first p below `LEVEL`."""
SAME = 1e-9
"""Relative rounding within which two statistics count as equal."""


@dataclass(frozen=True)
class Tested:
    """S comparisons of n_a numbers with n_b numbers; every array is [S]."""

    difference: Floats
    """Mean of b less mean of a."""
    low: Floats
    """Ends of the 95 % interval of the difference; NaN with a single number on a side."""
    high: Floats
    p: Floats
    """Two-sided p of the permutation test."""

    def claimed(self, level: float = LEVEL) -> NDArray[np.bool_]:
        """[S] whether the difference is beyond the seeds: p is at most `level`, and the interval does not
        hold 0."""
        return (self.p <= level) & ((self.low > 0) | (self.high < 0))


def compared(a: Floats, b: Floats, paired: bool, most: int = MOST, draws: int = DRAWS) -> Tested:
    """Compares a [S, n_a] with b [S, n_b]; row by row, and with `paired` number by number.

    Unpaired: all ways to deal the n_a + n_b numbers out to two sides of these sizes, by Welch's statistic
    |mean_b - mean_a| / sqrt(s_a^2 / n_a + s_b^2 / n_b), because a test of the plain difference of means
    claims too much where the spreads differ (Janssen 1997). With a single number on a side there is no s^2,
    and the difference of means is the statistic. Paired: all ways to give the n differences a sign.
    """
    p = paired_p(b - a, most) if paired else unpaired_p(a, b, most)
    low, high = paired_interval(b - a, draws) if paired else unpaired_interval(a, b, draws)
    return Tested(b.mean(axis=1) - a.mean(axis=1), low, high, p)


# Permutations


@cache
def deals(n_a: int, n_b: int, most: int) -> tuple[Floats, bool]:
    """[P, n_a + n_b] 1 where a number goes to side b, and whether these are all the ways there are. The
    first row is the way the numbers came."""
    n = n_a + n_b
    first = np.concatenate([np.zeros(n_a), np.ones(n_b)])
    if math.comb(n, n_b) <= most:
        rows = np.zeros((math.comb(n, n_b), n))
        for row, places in zip(rows, combinations(range(n - 1, -1, -1), n_b), strict=True):
            row[list(places)] = 1
        return rows, True
    rng = stream(0, "deals", n_a, n_b)
    drawn = [rng.permutation(first) for _ in range(min(most, SAMPLED))]
    return np.stack([first, *drawn]), False


@cache
def signs(n: int, most: int) -> tuple[Floats, bool]:
    """[P, n] a sign for each of n differences, and whether these are all. The first row has no minus."""
    if 2**n <= most:
        minus = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return 1 - 2 * minus.astype(np.float64), True
    drawn = stream(0, "signs", n).choice([-1.0, 1.0], size=(min(most, SAMPLED), n))
    return np.concatenate([np.ones((1, n)), drawn]), False


def unpaired_p(a: Floats, b: Floats, most: int) -> Floats:
    """[S] the share of all deals whose statistic is at least that of the numbers as they came."""
    n_a, n_b = a.shape[1], b.shape[1]
    side, _ = deals(n_a, n_b, most)
    values = np.concatenate([a, b], axis=1)
    values = values - values.mean(axis=1, keepdims=True)
    largest = np.abs(values).max(axis=1, keepdims=True)
    values = values / np.where(largest > 0, largest, 1)
    share = np.empty(len(values))
    for start in range(0, len(values), 100):  # [100, P] at a time
        part = values[start : start + 100]
        statistic = welch(part @ side.T, part**2 @ side.T, part, n_a, n_b)
        share[start : start + 100] = at_least_first(statistic)
    return share


def welch(sum_b: Floats, squares_b: Floats, values: Floats, n_a: int, n_b: int) -> Floats:
    """[S, P] Welch's statistic of each deal from the sums of side b. The values are centred and at most 1, so
    what is below 1e-12 is rounding: spreads and differences of that size are 0."""
    sum_a = values.sum(axis=1, keepdims=True) - sum_b
    squares_a = (values**2).sum(axis=1, keepdims=True) - squares_b
    difference = np.abs(sum_b / n_b - sum_a / n_a)
    difference[difference < 1e-12] = 0
    if min(n_a, n_b) < 2:
        return difference
    spread = (squares_a - sum_a**2 / n_a) / (n_a - 1) / n_a + (squares_b - sum_b**2 / n_b) / (n_b - 1) / n_b
    spread[spread < 1e-12] = 0
    with np.errstate(divide="ignore"):  # without any spread a difference is infinitely many spreads
        return np.divide(difference, np.sqrt(spread), out=np.zeros_like(difference), where=difference > 0)


def paired_p(differences: Floats, most: int) -> Floats:
    """[S] the share of all signs whose mean difference is at least as far from 0."""
    sign, _ = signs(differences.shape[1], most)
    largest = np.abs(differences).max(axis=1, keepdims=True)
    sums = np.abs((differences / np.where(largest > 0, largest, 1)) @ sign.T)
    return at_least_first(sums)


def at_least_first(statistic: Floats) -> Floats:
    """[S] the share of columns that reach the first one, up to rounding. The first column counts itself, so a
    sampled test is never below 1 / (draws + 1) and never claims too much for being sampled."""
    with np.errstate(invalid="ignore"):
        reached = statistic >= statistic[:, :1] - SAME * np.maximum(1, statistic[:, :1])
    reached |= np.isinf(statistic)
    return np.asarray(reached.mean(axis=1), dtype=np.float64)


def least_p(n_a: int, n_b: int, paired: bool) -> float:
    """The smallest p that any numbers can give.

    >>> least_p(3, 3, False), round(least_p(5, 5, False), 4), least_p(6, 6, True)
    (0.1, 0.0079, 0.03125)
    """
    ways = 2**n_a if paired else math.comb(n_a + n_b, n_a)
    return (2 if paired or n_a == n_b else 1) / ways


def is_exact(n_a: int, n_b: int, paired: bool) -> bool:
    """Whether the test goes through all arrangements."""
    return (2**n_a if paired else math.comb(n_a + n_b, n_b)) <= MOST


# Intervals


@cache
def resamples(n: int, draws: int, side: str) -> Floats:
    """[draws, n] how much each of n numbers weighs in a resampled mean."""
    places = stream(0, "seeds", n, side).integers(0, n, (draws, n))
    return np.stack([np.bincount(row, minlength=n) for row in places]) / n


def widened(resampled: Floats, middle: Floats, error: Floats, freedom: Floats) -> tuple[Floats, Floats]:
    """The 95 % interval [S] of differences `middle` [S] from their resamples [S, draws].

    The percentiles of a bootstrap know the spread of the numbers that there are, which is itself uncertain:
    with few seeds they hold the truth far less often than they say. So both halves are made longer by
    Student's t over the normal quantile (after the expanded percentiles of Hesterberg 2015), and an end that
    is nearer than Student's, at t times the standard error `error`, moves out to it: resamples of ten numbers
    have short tails. What skew adds to one side stays.
    """
    student = np.array([t_quantile(int(one + 1e-9)) for one in freedom])
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    low, high = (middle + student / NORMAL * (end - middle) for end in (low, high))
    return np.minimum(low, middle - student * error), np.maximum(high, middle + student * error)


def unpaired_interval(a: Floats, b: Floats, draws: int) -> tuple[Floats, Floats]:
    """The interval of mean b - mean a; the degrees of freedom are Welch's, rounded down."""
    n_a, n_b = a.shape[1], b.shape[1]
    if min(n_a, n_b) < 2:
        return np.full(len(a), np.nan), np.full(len(a), np.nan)
    resampled = b @ resamples(n_b, draws, "b").T - a @ resamples(n_a, draws, "a").T
    of_a, of_b = a.var(axis=1, ddof=1) / n_a, b.var(axis=1, ddof=1) / n_b
    below = of_a**2 / (n_a - 1) + of_b**2 / (n_b - 1)
    welch = np.divide((of_a + of_b) ** 2, below, out=np.zeros_like(below), where=below > 0)
    freedom = np.maximum(welch, min(n_a, n_b) - 1)
    return widened(resampled, b.mean(axis=1) - a.mean(axis=1), np.sqrt(of_a + of_b), freedom)


def paired_interval(differences: Floats, draws: int) -> tuple[Floats, Floats]:
    """The interval of the mean difference."""
    n = differences.shape[1]
    if n < 2:
        return np.full(len(differences), np.nan), np.full(len(differences), np.nan)
    resampled = differences @ resamples(n, draws, "b").T
    error = differences.std(axis=1, ddof=1) / math.sqrt(n)
    return widened(resampled, differences.mean(axis=1), error, np.full(len(differences), n - 1.0))


def improvement(a: Floats, b: Floats, paired: bool) -> tuple[float, float, float]:
    """The probability that a run of b [n_b] is ahead of one of a [n_a], ties half, with the ends of its 95 %
    bootstrap interval over seeds (Agarwal et al. 2021, arXiv 2108.13264); of pairs where the seeds pair.

    Where every run of one side is ahead, all resamples agree, and the exact binomial bound for the smaller
    number of runs takes the place of the bootstrap.
    """
    ahead = np.where(b > a[:, None], 1.0, np.where(b == a[:, None], 0.5, 0.0))  # [n_a, n_b]
    if paired:
        values = np.diag(ahead).astype(np.float64)
        return float(values.mean()), *interval_of_share(values)
    mean = float(ahead.mean())
    if mean in (0, 1):
        return mean, *interval_of_share(np.full(min(ahead.shape), mean))
    drawn = np.einsum(
        "di,ij,dj->d", resamples(len(a), DRAWS, "a"), ahead, resamples(len(b), DRAWS, "b"), optimize=True
    )
    low, high = np.quantile(drawn, [0.025, 0.975])
    return mean, float(low), float(high)


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number, by Holm's step-down rule (1979): the chance that any of them is
    a false claim stays below the level.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    found, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        found[place] = largest
    return found
