"""What the corrections share: how far the trainer's policy is from the one that wrote the text."""

from typing import Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch

LIMIT = 20.0
"""Log-ratios are clamped to +-LIMIT before exp."""
Trainer = Literal["old", "current"]


def log_weight(logp: Tensor, batch: Batch, asker: object, trainer: Trainer = "old") -> Tensor:
    """[N] log pi_old - log pi_behaviour (with "current" pi instead of pi_old), 0 where not trained, not
    clamped."""
    own = logp if trainer == "current" or batch.old_logp is None else batch.old_logp
    return ragged.difference(own, batch.need("behaviour_logp", asker), batch.trained)


def sequence_mean(values: Tensor, batch: Batch) -> Tensor:
    """[N] each trained token gets the mean over its sequence's trained tokens."""
    total = ragged.sequence_sum(torch.where(batch.trained, values, 0), batch.offset)
    return ragged.spread(total / batch.action_lengths.clamp(min=1), batch.offset, batch.num_tokens)


def sequence_total(values: Tensor, batch: Batch) -> Tensor:
    """[N] each token gets the sum over its sequence's trained tokens."""
    return ragged.spread(
        ragged.sequence_sum(torch.where(batch.trained, values, 0), batch.offset),
        batch.offset,
        batch.num_tokens,
    )


def bounded(values: Tensor) -> Tensor:
    """The values clamped to +-LIMIT, so that exp does not overflow."""
    return values.clamp(-LIMIT, LIMIT)
