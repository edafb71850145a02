"""Numbers of an evaluation: avg@k, pass@k, maj@k (also called cons@k), and intervals over problems
(docs/numerics.md, 18.1).

A problem has n samples with `acc_n` (1 right, 0 wrong, NaN where the grader failed) and, where answers can be
compared, `kind_n`: samples that state the same answer have the same number from 0 on, -1 states none. Samples
with a failed grader are in no number.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from menon.errors import UserError

SUBSETS = 100
"""The most subsets of k samples whose votes are averaged if there are more than k samples. If there are more
subsets than this, they are drawn at random."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Unbiased chance that at least one of k samples is right, given `correct` of n: 1 - C(n - c, k) / C(n,
    k) (Chen et al., arXiv 2107.03374, equation 1). It is computed in integers, so nothing can overflow or
    cancel. UserError where k > n.

    >>> pass_at_k(10, 3, 1), pass_at_k(16, 1, 8), pass_at_k(4, 4, 4)
    (0.3, 0.5, 1.0)
    """
    if not 1 <= k <= n:
        raise UserError(
            f"pass@{k} needs at least {max(k, 1)} samples of each question and there are {n}; set "
            "samples= higher"
        )
    every = math.comb(n, k)
    return (every - math.comb(n - correct, k)) / every


def average(acc_n: Floats) -> float:
    """avg@n of one problem; NaN where no sample could be graded."""
    known = acc_n[~np.isnan(acc_n)]
    return float(known.mean()) if len(known) else np.nan


def passed(acc_n: Floats, k: int) -> float:
    """pass@k of one problem; NaN where fewer than k samples could be graded."""
    known = acc_n[~np.isnan(acc_n)]
    return pass_at_k(len(known), int((known == 1).sum()), k) if len(known) >= k else np.nan


def majority(acc_n: Floats, kind_n: Ints, k: int, rng: np.random.Generator) -> float:
    """maj@k of one problem: whether the most frequent answer among k samples is right.

    Samples that state no answer have no vote; a tie goes to the answer that was stated first; no vote at all
    is wrong. An answer counts as right if its first sample was graded right. With more than k samples, the
    result is the mean over subsets. NaN where fewer than k samples could be graded.
    """
    known = ~np.isnan(acc_n)
    acc_n, kind_n = acc_n[known], kind_n[known]
    n = len(acc_n)
    if n < k:
        return np.nan
    return float(np.mean(votes(acc_n, kind_n, subsets(n, k, rng))))


def subsets(n: int, k: int, rng: np.random.Generator) -> Ints:
    """[R, k] indices of samples, each row ascending."""
    if math.comb(n, k) <= SUBSETS:
        return np.array(list(combinations(range(n), k)), dtype=np.int64).reshape(-1, k)
    return np.sort(rng.random((SUBSETS, n)).argsort(axis=1)[:, :k], axis=1)


def votes(acc_n: Floats, kind_n: Ints, chosen_RK: Ints) -> Floats:
    """[R] the grade of the winning answer of each subset, whose samples are in ascending order; 0 where no
    sample votes."""
    row_R1 = np.arange(len(chosen_RK))[:, None]
    kind_RK = kind_n[chosen_RK]
    count_RC = np.zeros(
        (len(chosen_RK), kind_n.max() + 2), dtype=np.int64
    )  # the last column counts those without an answer
    np.add.at(count_RC, (row_R1, kind_RK), 1)
    count_RC[:, -1] = 0
    count_RK = count_RC[row_R1, kind_RK]
    winner_R = count_RK.argmax(axis=1)  # the first of the largest: a tie goes to the earliest
    row_R = row_R1[:, 0]
    return np.where(count_RK[row_R, winner_R] > 0, acc_n[chosen_RK[row_R, winner_R]], 0.0)


def kinds(answers: Sequence[str | None], same: Callable[[str, str], bool]) -> Ints:
    """[n] equal numbers for equal answers, in order of first occurrence, -1 for none.

    An answer joins the first class whose first member it equals; equal strings are compared once.
    """
    leaders: list[str] = []
    known: dict[str, int] = {}
    for text in answers:
        if text is None or text in known:
            continue
        place = next((place for place, leader in enumerate(leaders) if same(leader, text)), len(leaders))
        if place == len(leaders):
            leaders.append(text)
        known[text] = place
    return np.array([-1 if text is None else known[text] for text in answers], dtype=np.int64)


def powers_up_to(k: int) -> list[int]:
    """1, 2, 4, ... and k itself.

    >>> powers_up_to(6)
    [1, 2, 4, 6]
    """
    return sorted({2**power for power in range(k.bit_length()) if 2**power <= k} | {k})
