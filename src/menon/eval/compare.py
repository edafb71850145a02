"""Two evaluations of the same questions, compared question by question."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from menon.errors import UserError
from menon.eval.metrics import average
from menon.eval.run import Item, vote
from menon.intervals import interval

Measure = Literal["accuracy", "reward"]
Judged = Literal["majority", "first sample", "mean reward"]


@dataclass(frozen=True)
class Comparison:
    """The difference between two evaluations A and B."""

    n: int
    """Number of questions that were graded in both results."""
    a: float
    b: float
    """Means over all samples, of the accuracy or else of the reward."""
    difference: float
    low: float
    high: float
    """95 % paired bootstrap interval of b - a: whole questions are drawn, so what makes a question hard
    cancels."""
    measure: Measure
    """The reward where it says of no question in both results which answers are right."""
    judged: Judged
    """What the test compares: one right or wrong per question, or its mean reward."""
    only_a: int
    """Questions that only A gets right, or for which its reward is the higher one."""
    only_b: int
    p: float
    """Exact two-sided test of only_a against only_b: McNemar's, or the sign test of the rewards."""


def compare_results(a: Sequence[Item], b: Sequence[Item], seed: int = 0) -> Comparison:
    """Compares two evaluations; UserError if their questions differ."""
    pairs = paired(a, b)
    measure: Measure = "accuracy"
    both = means_of(pairs, measure)
    if not len(both):
        measure = "reward"
        both = means_of(pairs, measure)
    if not len(both):
        raise UserError("no question could be graded in both results, so there is nothing to compare")
    difference_P = both[:, 1] - both[:, 0]
    low, high = interval(difference_P, seed)
    judged: Judged = "mean reward"
    only_a, only_b = int((difference_P < 0).sum()), int((difference_P > 0).sum())
    if measure == "accuracy":
        voted = all(len(item.acc) > 1 and item.kind for item in (*a, *b))
        judged = "majority" if voted else "first sample"
        verdicts = [(right(x, judged, seed), right(y, judged, seed)) for x, y in pairs]
        only_a = sum(x == 1 and y == 0 for x, y in verdicts)
        only_b = sum(x == 0 and y == 1 for x, y in verdicts)
    return Comparison(
        n=len(both),
        measure=measure,
        a=float(both[:, 0].mean()),
        b=float(both[:, 1].mean()),
        difference=float(difference_P.mean()),
        low=low,
        high=high,
        judged=judged,
        only_a=only_a,
        only_b=only_b,
        p=mcnemar(only_a, only_b),
    )


def means_of(pairs: Sequence[tuple[Item, Item]], measure: Measure) -> NDArray[np.float64]:
    """[P, 2] means over the samples of each question, in A and in B; questions that are not known in both are
    left out."""
    values = [[item.acc if measure == "accuracy" else item.score for item in pair] for pair in pairs]
    means = np.array([[average(np.array(one)) for one in pair] for pair in values], dtype=np.float64)
    return means[~np.isnan(means).any(axis=1)]


def paired(a: Sequence[Item], b: Sequence[Item]) -> list[tuple[Item, Item]]:
    """The items of both results, paired by question; their orders may differ."""
    first, second = ({(item.question, item.key): item for item in items} for items in (a, b))
    if first.keys() != second.keys():
        shared = len(first.keys() & second.keys())
        raise UserError(
            f"the two results are of different questions ({len(first)} and {len(second)}, {shared} of "
            "them the same); "
            "evaluate both on the same set with the same n"
        )
    return [(first[name], second[name]) for name in sorted(first)]


def right(item: Item, judged: Judged, seed: int) -> float:
    """1 or 0 for a question; NaN where the graders failed."""
    if judged == "first sample":
        return item.acc[0]
    known = sum(not np.isnan(acc) for acc in item.acc)
    return vote(item, known, seed) if known else np.nan


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p: a fair coin for each question that just one of the two gets right (McNemar 1947; the
    exact form).

    >>> mcnemar(1, 9), mcnemar(0, 0)
    (0.021484375, 1.0)
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    return min(1.0, 2 * sum(comb(n, i) for i in range(fewer + 1)) / 2**n)
