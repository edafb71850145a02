"""Recursions over the tokens that the policy wrote. Tokens that an environment put between them are not steps
of the decision process."""

import torch
from torch import Tensor

from menon.batch import Batch


def pick(values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """The trained tokens' values [A] and their offset [S+1]."""
    size = batch.action_lengths
    return values[batch.trained], torch.cat([size.new_zeros(1), size.cumsum(0)])


def place(values: Tensor, batch: Batch) -> Tensor:
    """[A] -> [N]: the inverse of `pick`, 0 on all other tokens."""
    return torch.zeros(batch.num_tokens, dtype=values.dtype, device=values.device).masked_scatter(
        batch.trained, values
    )
