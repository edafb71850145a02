"""How good the draws of Markov chains are."""

from collections.abc import Sequence

import numpy as np

from menon.types import Mean, Metric


def mixing(rewards: Sequence[Sequence[float]], draws: int) -> dict[str, Metric]:
    """autocorrelation and ess of rewards [T][chains]; neither where all rewards are equal or some are
    missing, because then they say nothing.

    The effective sample size is T chains / (1 + 2 sum of autocorrelations), summed in pairs of neighbouring
    lags while the pairs are positive (Geyer 1992), and at most the number of draws.
    """
    values = np.asarray(rewards, dtype=np.float64)
    if np.isnan(values).any() or values.min() == values.max():
        return {}
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
