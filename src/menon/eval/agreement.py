"""How far a judge agrees with labels, and what its probabilities are worth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from menon.types import Verdict

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


@dataclass(frozen=True)
class Agreement:
    """A judge's decisions about labelled answers; those that failed are in no other number."""

    cases: int
    failed: int
    unparsable: int
    """Replies that are neither yes nor no; they count as no, and are in no bin."""
    share: float
    """Equal decisions."""
    kappa: float
    bins: list[Bin]
    """By the probability of yes; none where the judge gives no probabilities."""


def agreement(cases: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict], soft: bool) -> Agreement:
    """The numbers of a judge's verdicts: `acc` is its decision and, if it is `soft`, `score` its probability
    of yes."""
    known = [(case["expected"], v) for case, v in decided(cases, verdicts)]
    labels, said = [label for label, _ in known], [bool(v.acc) for _, v in known]
    clear = [(label, v.score) for label, v in known if soft and v.parts.get("judge_unparsable") != 1]
    return Agreement(
        len(cases),
        len(cases) - len(known),
        sum(v.parts.get("judge_unparsable") == 1 for _, v in known),
        sum(a == b for a, b in zip(said, labels, strict=True)) / len(known) if known else math.nan,
        kappa(said, labels),
        calibration([p for _, p in clear], [label for label, _ in clear]),
    )


def decided(
    cases: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict]
) -> list[tuple[Mapping[str, Any], Verdict]]:
    """The cases with a verdict."""
    pairs = zip(cases, verdicts, strict=True)
    return [(case, verdict) for case, verdict in pairs if not math.isnan(verdict.score)]


def lines_of(found: Agreement) -> list[str]:
    error = f", calibration error {calibration_error(found.bins):.3f}" if found.bins else ""
    return [
        f"{found.cases} labelled answers, {found.failed} without a verdict, {found.unparsable} replies that "
        "are neither yes nor no",
        f"agreement {found.share:.3f}, kappa {found.kappa:.3f}{error}",
    ]


def bins_of(bins: Sequence[Bin]) -> list[str]:
    """The table of the calibration."""
    head = f"{'probability of yes':<20}{'cases':>7}{'expected':>10}{'observed':>10}"
    rows = [
        f"{f'{one.low:.1f} to {one.high:.1f}':<20}{one.count:>7}{one.expected:>10.3f}{one.observed:>10.3f}"
        for one in bins
    ]
    return [head, *rows] if rows else []
