"""The adaptive KL controller of Ziegler et al. (arXiv 1909.08593, section 2.2), for a coefficient in the
reward or in the loss."""

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch


def sampled_kl(batch: Batch, part: object) -> Tensor:
    """[N] k1 = old_logp - ref_logp of every trained token, 0 elsewhere. `part` is the part that asks; the
    error names it."""
    return torch.where(batch.trained, batch.need("old_logp", part) - batch.need("ref_logp", part), 0)


def mean_kl(k1: Tensor, batch: Batch) -> tuple[float, int]:
    """The mean over answers of their mean over tokens, and the number of answers that have a token; (0, 0)
    without one."""
    length = batch.action_lengths
    present = length > 0
    if not present.any():
        return 0.0, 0
    means = ragged.sequence_sum(k1, batch.offset) / length.clamp(min=1)
    return float(means[present].mean()), int(present.sum())


def steered(beta: float, measured: float, count: int, target: float, horizon: float) -> float:
    """beta * (1 + clip(KL / target - 1, -.2, .2) n / horizon), for a mean KL over n answers."""
    return beta * (1 + min(max(measured / target - 1, -0.2), 0.2) * count / horizon)
