"""How good the draws of Markov chains are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from menon.types import Graded, Mean, Metric


def mixing(states: Sequence[Sequence[Graded]], draws: int) -> dict[str, Metric]:
    """autocorrelation and ess of the reward in the states [T][chains]; of the answers' log-prob where all
    rewards are equal or some are missing; nothing if that is equal too."""
    for value in (reward_of, log_prob_of):
        values = np.array([[value(one) for one in row] for row in states], dtype=np.float64)
        if not np.isnan(values).any() and values.min() < values.max():
            return of_values(values, draws)
    return {}


def reward_of(graded: Graded) -> float:
    return graded.verdict.score


def log_prob_of(graded: Graded) -> float:
    return float(graded.rollout.logp.sum(dtype=np.float64))


def of_values(values: NDArray[np.float64], draws: int) -> dict[str, Metric]:
    """The same of values [T, chains] that are not all equal.

    The effective sample size is T chains / (1 + 2 sum of autocorrelations), summed in pairs of neighbouring
    lags while the pairs are positive (Geyer 1992), and at most the number of draws.
    """
    centred = values - values.mean()
    covariance = [float((centred[lag:] * centred[: len(centred) - lag]).sum()) for lag in range(len(centred))]
    rho = [each / covariance[0] for each in covariance]
    time = -1.0
    for lag in range(0, len(rho) - 1, 2):
        pair = rho[lag] + rho[lag + 1]
        if pair <= 0:
            break
        time += 2 * pair
    found: dict[str, Metric] = {"ess": Mean(min(float(draws), values.size / max(time, 1.0)))}
    if len(rho) > 1:
        found["autocorrelation"] = Mean(covariance[1], covariance[0])
    return found
