"""Does the covariance of log-prob and advantage predict the change of the entropy? (The Entropy Mechanism,
arXiv 2505.22617)

Policy gradient on a tabular softmax changes the entropy by about -learning_rate * Cov(log pi, pi A), natural
gradient by -learning_rate * Cov(log pi, A): a likely token with a positive advantage lowers it, a rare one
raises it.
"""

from collections.abc import Sequence

import numpy as np
import torch

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.record.metrics import covariances

LEAST_STEPS = 4
"""Fewest steps for a correlation: they give three changes of the entropy."""


def of_step(batch: Batch) -> dict[str, float]:
    """`mean` and `top002` ... `top50` over the whole step, and `group`: the covariance inside a prompt group,
    averaged.

    UserError if the batch has no advantages or log-probs.
    """
    logp, advantage = batch.policy_logp, batch.advantage
    if logp is None or advantage is None:
        missing = "log-probs" if logp is None else "advantages"
        raise UserError(
            f"the transcript holds no {missing}, so there is no covariance; study a run of reinforcement "
            "learning"
        )
    found = {
        name.removeprefix("cov/"): float(value)
        for name, value in covariances(advantage, logp, batch.trained).items()
    }
    return found | {"group": _inside_groups(batch, advantage.double(), logp.double())}


def _inside_groups(batch: Batch, advantage: torch.Tensor, logp: torch.Tensor) -> float:
    counted = batch.trained & logp.isfinite()
    names, of = torch.unique(ragged.spread(batch.group, batch.offset)[counted], return_inverse=True)
    size = ragged.sum_by(torch.ones(len(of), dtype=torch.float64), of, len(names))

    def mean(values: torch.Tensor) -> torch.Tensor:
        return ragged.sum_by(values, of, len(names)) / size

    a, p = advantage[counted], logp[counted]
    inside = mean((a - mean(a)[of]) * (p - mean(p)[of]))
    return float(inside.mean()) if len(names) else 0.0


def direction(entropy: Sequence[float], covariance: Sequence[float]) -> float:
    """Pearson correlation of H_{k+1} - H_k with the covariance of step k: the theory predicts a negative
    value.

    UserError with fewer than 4 steps, or if either never changes.
    """
    change, cause = (
        np.diff(np.asarray(entropy, dtype=np.float64)),
        np.asarray(covariance, dtype=np.float64)[:-1],
    )
    if len(entropy) < LEAST_STEPS:
        raise UserError(
            f"a direction needs {LEAST_STEPS} steps and there are {len(entropy)}; let the run go on"
        )
    if np.ptp(change) == 0 or np.ptp(cause) == 0:
        raise UserError(
            "the entropy changes by the same amount at every step, or the covariance is constant, so they "
            "have no correlation; let the run go on"
        )
    return float(np.corrcoef(change, cause)[0, 1])
