"""Score against entropy: R = b - a exp(H) (The Entropy Mechanism, arXiv 2505.22617).

The law predicts the largest score that a run can reach: b - a, at H = 0, when no entropy remains to trade for
score. It describes runs without control of the entropy. Runs with Clip-Cov, KL-Cov or an entropy bonus leave
the curve, so the ceiling is a forecast under unchanged training, not a bound.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from menon.errors import UserError
from menon.streams import stream

LEAST_POINTS = 8
EARLY = 0.15
"""Share of a run's steps that a forecast is made from."""
RESAMPLES = 1000

Series = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """A fitted law R = b - a exp(H), and the interval of its ceiling."""

    a: float
    b: float
    r2: float
    """Share of the variance of the fitted scores that the law explains."""
    low: float
    """Lower end of the 95 % interval of the ceiling."""
    high: float
    points: int

    @property
    def ceiling(self) -> float:
        """The score at entropy 0."""
        return self.b - self.a

    def __call__(self, entropy: Series) -> Series:
        return self.b - self.a * np.exp(entropy)


@dataclass(frozen=True)
class Accuracy:
    """How well an early forecast predicted later points."""

    points: int
    rmse: float
    """Root mean squared error over all later points."""
    final_error: float
    """Predicted minus measured score of the last one."""


def fit(entropy: ArrayLike, score: ArrayLike) -> Law:
    """The law through points (H_k, R_k), [K] each, entropy in nats.

    The interval is a bootstrap of the residuals in blocks of about K^(1/3) neighbours, because the points of
    one run are not independent. It measures how well the line is known, if the law holds. UserError: fewer
    than 8 points, entropies that are all the same, a score that rises with the entropy.
    """
    h, r = (np.asarray(values, dtype=np.float64) for values in (entropy, score))
    if len(h) < LEAST_POINTS:
        raise UserError(
            f"the law of entropy needs {LEAST_POINTS} points and there are {len(h)}; let the run go on"
        )
    if np.ptp(np.exp(h)) == 0:
        raise UserError(
            "the entropy is the same at every step, so there is no law to fit; fit a run whose entropy "
            "changes"
        )
    a, b = line(h, r)
    if not a > 0:
        raise UserError(
            f"the score does not fall as the entropy rises (a = {a:.3g}), so the law R = b - a exp(H) "
            "does not hold here; "
            "leave it out for this run"
        )
    left = r - (b - a * np.exp(h))
    low, high = _ceilings(h, b - a * np.exp(h), left)
    return Law(a, b, 1 - float((left**2).sum() / ((r - r.mean()) ** 2).sum()), low, high, len(h))


def line(entropy: Series, score: Series) -> tuple[float, float]:
    """a and b by least squares, which are linear in u = exp(H): a = -Cov(u, R) / Var(u), b = mean R + a mean
    u."""
    u = np.exp(entropy)
    away = u - u.mean()
    a = -float((away * (score - score.mean())).sum() / (away**2).sum())
    return a, float(score.mean() + a * u.mean())


def early_points(steps: int) -> int:
    """The number of points from which a forecast is made for a run of `steps` steps: 15 %, but at least as
    many as a fit needs."""
    return max(LEAST_POINTS, math.ceil(EARLY * steps))


def judge(law: Law, entropy: ArrayLike, score: ArrayLike) -> Accuracy:
    """Compares a law with later points, of which there must be at least one."""
    h, r = (np.asarray(values, dtype=np.float64) for values in (entropy, score))
    wrong = law(h) - r
    return Accuracy(len(r), float(np.sqrt((wrong**2).mean())), float(wrong[-1]))


def spent(values: ArrayLike, share: float) -> float:
    """The share of the change from the first to the last value that is reached after this share of the steps;
    0 if nothing changes."""
    v = np.asarray(values, dtype=np.float64)
    whole = v[-1] - v[0]
    return float((v[round(share * (len(v) - 1))] - v[0]) / whole) if whole else 0.0


def _ceilings(entropy: Series, fitted: Series, left: Series) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the ceiling over resampled residuals, which are scaled up for the two
    degrees of freedom of the line."""
    n = len(left)
    block = math.ceil(n ** (1 / 3))
    left = left * math.sqrt(n / (n - 2))
    starts = stream(0, "entropy_law").integers(0, n, (RESAMPLES, math.ceil(n / block)))
    resampled = (((begins[:, None] + np.arange(block)) % n).reshape(-1)[:n] for begins in starts)
    lines = [line(entropy, fitted + left[places]) for places in resampled]
    low, high = np.percentile([b - a for a, b in lines], [2.5, 97.5])
    return float(low), float(high)
