"""The distribution of token entropies (Beyond the 80/20 Rule, arXiv 2506.01939)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from menon.errors import UserError

PERCENTILES = (50, 80, 90, 95, 99)
TOP = 0.2
"""Share of the tokens that count as uncertain."""


@dataclass(frozen=True)
class Spread:
    """The distribution of token entropies in a few numbers, in nats."""

    tokens: int
    mean: float
    percentiles: dict[str, float]
    """p50, p80, p90, p95, p99, interpolated."""
    lt001: float
    """Share of tokens below .01 nat."""
    threshold: float
    """Least entropy of the top 20 % (exactly ceil(.2 N) tokens)."""


def spread(entropy_N: NDArray) -> Spread:
    """The measures of the entropies; UserError if there is no token."""
    values = np.asarray(entropy_N, dtype=np.float64)
    if not len(values):
        raise UserError(
            "there is no token to measure: every answer is empty, or its grader failed; look at another step"
        )
    percentiles = {f"p{p}": float(np.percentile(values, p)) for p in PERCENTILES}
    threshold = float(values[top(values)].min())
    return Spread(len(values), float(values.mean()), percentiles, float((values < 0.01).mean()), threshold)


def top(entropy_N: NDArray, share: float = TOP) -> NDArray[np.int64]:
    """[ceil(share N)] indices of the highest entropies; of equal ones the first."""
    return np.argsort(-entropy_N, kind="stable")[: math.ceil(share * len(entropy_N))]
