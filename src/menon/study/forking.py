"""Forking tokens (arXiv 2506.01939): the tokens of a vocabulary by their mean entropy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_MIN = 500
"""Fewest occurrences for which a token's mean is reliable."""


@dataclass(frozen=True)
class Row:
    """One token with its number of occurrences and its mean entropy."""

    token: int
    occurrences: int
    entropy: float
    """Mean, in nats, of the distributions that the token was drawn from."""


@dataclass(frozen=True)
class Tables:
    """The tokens of highest and lowest mean entropy."""

    top: list[Row]
    """The tokens of highest mean entropy, the highest first."""
    bottom: list[Row]
    """The tokens of lowest mean entropy, the lowest first."""
    frequent: int
    """Number of different tokens with enough occurrences, from which the tables are chosen."""


def tables(token_N: NDArray, entropy_N: NDArray, n_min: int = N_MIN, rows: int = 100) -> Tables:
    """Both tables, at most `rows` rows each; equal means are ordered by token id. Empty if no token is
    frequent enough."""
    names, of, count = np.unique(token_N, return_inverse=True, return_counts=True)
    mean = np.bincount(
        of, weights=np.asarray(entropy_N, dtype=np.float64), minlength=len(names)
    ) / np.maximum(count, 1)
    kept = np.flatnonzero(count >= n_min)

    def ranked(height: NDArray) -> list[Row]:
        order = kept[np.argsort(height[kept], kind="stable")][:rows]
        return [Row(int(names[i]), int(count[i]), float(mean[i])) for i in order]

    return Tables(ranked(-mean), ranked(mean), len(kept))
