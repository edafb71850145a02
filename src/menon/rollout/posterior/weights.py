"""Weights of candidates: softmax of r / beta, and how many draws they are worth."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from menon.rollout.posterior.target import OUTSIDE

Weights = NDArray[np.float64]


def normalised(log_weights: Sequence[float]) -> Weights | None:
    """[n] weights that add up to 1; None where the target can give none of the candidates.

    >>> normalised([2.0, 0.0, 0.0]).round(6).tolist()
    [0.786986, 0.106507, 0.106507]
    """
    logs = np.asarray(log_weights, dtype=np.float64)
    if not len(logs) or logs.max() == OUTSIDE:
        return None
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


def effective_size(weights: Weights) -> float:
    """1 / sum w^2: the number of equally weighted draws that estimate a mean as well.

    >>> round(effective_size(normalised([2.0, 0.0, 0.0])), 6)
    1.557549
    """
    return float(1 / np.square(weights).sum())


def log_mean_exp(log_weights: Sequence[float]) -> float:
    """log of the mean of exp: from answers of the prior, the estimate of log Z."""
    logs = np.asarray(log_weights, dtype=np.float64)
    most = logs.max()
    return OUTSIDE if most == OUTSIDE else float(most + np.log(np.exp(logs - most).mean()))


def bound_on_kl(candidates: int) -> float:
    """log n - (n - 1) / n: the KL of the best of n answers to the prior, in nats, if no two rewards are
    equal; an upper bound if some are (arXiv 2401.01879).

    >>> [round(bound_on_kl(n), 6) for n in (2, 4, 16, 64)]
    [0.193147, 0.636294, 1.835089, 3.174508]
    """
    return math.log(candidates) - (candidates - 1) / candidates
