"""How much of an answer repeats itself: the repeat score of Open-Reasoner-Zero (docs/numerics.md, 15)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WINDOW = 2048
"""Only this many last tokens of an answer count: loops are at the end, and computing the metrics of long
answers should not delay a step."""


def repeat_scores(answers: Sequence[NDArray]) -> NDArray[np.float64]:
    """[S] 2 * sum(LCP) / (n * (n + 1)) of each answer's n tokens, in [0, 1); 0 for an empty one.

    LCP are the common prefixes of neighbours in the sorted suffixes. All answers are sorted at once by prefix
    doubling (n log^2 n), with the answer as the highest digit, so that a suffix is compared within its answer
    only.

    >>> repeat_scores([np.array([5, 5, 5, 5])]).tolist()  # prefixes 1 + 2 + 3: 2 * 6 / (4 * 5)
    [0.6]
    """
    answers = [np.asarray(answer)[-WINDOW:] for answer in answers]
    size = np.array([len(answer) for answer in answers], dtype=np.int64)
    total = int(size.sum())
    if total == 0:
        return np.zeros(len(answers))
    owner = np.repeat(np.arange(len(answers)), size)
    end = np.cumsum(size)[owner]
    ranks = _ranks(np.concatenate(answers).astype(np.int64), owner, end)
    order = np.argsort(ranks[-1], kind="stable")
    left, right = order[:-1], order[1:]
    same = owner[left] == owner[right]
    left, right = left[same], right[same]
    common = np.zeros(len(left), dtype=np.int64)
    for level in range(len(ranks) - 1, -1, -1):
        inside = np.maximum(left, right) + common < end[left]
        i, j = (np.minimum(side + common, total - 1) for side in (left, right))
        common += np.where(inside & (ranks[level][i] == ranks[level][j]), 1 << level, 0)
    sums = np.bincount(owner[left], weights=common, minlength=len(answers))
    return 2 * sums / np.maximum(size * (size + 1), 1)


def _ranks(
    token: NDArray[np.int64], owner: NDArray[np.int64], end: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """For each level k, the rank of every suffix by its first 2^k tokens, up to the level at which all ranks
    differ."""
    total = len(token)
    place = np.arange(total)
    ranks = [np.unique(owner * (int(token.max()) + 1) + token, return_inverse=True)[1]]
    while ranks[-1].max() + 1 < total:
        next_place = place + (1 << (len(ranks) - 1))
        behind = np.where(next_place < end, ranks[-1][np.minimum(next_place, total - 1)] + 1, 0)
        ranks.append(np.unique(ranks[-1] * (total + 1) + behind, return_inverse=True)[1])
    return ranks
