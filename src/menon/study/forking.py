"""Which tokens fork and which follow (arXiv 2506.01939): a vocabulary's tokens by their mean entropy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_MIN = 500
"""Occurrences below which a token's mean says little."""


@dataclass(frozen=True)
class Row:
    token: int
    occurrences: int
    entropy: float
    """Mean, in nats, of the distributions that the token was drawn from."""


@dataclass(frozen=True)
class Tables:
    top: list[Row]
    """Highest mean entropy first."""
    bottom: list[Row]
    """Lowest first."""
    frequent: int
    """Different tokens with enough occurrences: what the tables choose from."""


def tables(token_N: NDArray, entropy_N: NDArray, n_min: int = N_MIN, rows: int = 100) -> Tables:
    """At most `rows` each; equal means in the order of the tokens' numbers. Empty where no token is frequent
    enough."""
    names, of, count = np.unique(token_N, return_inverse=True, return_counts=True)
    mean = np.bincount(
        of, weights=np.asarray(entropy_N, dtype=np.float64), minlength=len(names)
    ) / np.maximum(count, 1)
    kept = np.flatnonzero(count >= n_min)

    def ranked(height: NDArray) -> list[Row]:
        order = kept[np.argsort(height[kept], kind="stable")][:rows]
        return [Row(int(names[i]), int(count[i]), float(mean[i])) for i in order]

    return Tables(ranked(-mean), ranked(mean), len(kept))
