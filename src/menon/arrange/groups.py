"""The answers of a batch by group, and the batch that learns from some of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from menon.batch import Batch


def answers_by_group(batch: Batch) -> Iterator[Tensor]:
    """The sequences [G] of each group that can be learned from, in the order of the batch: graded, not empty,
    and not left out before."""
    rows = (batch.action_lengths > 0).nonzero()[:, 0]
    _, index = torch.unique(batch.group[rows], return_inverse=True)
    yield from rows[torch.argsort(index, stable=True)].split(index.bincount().tolist())


def learning_from(batch: Batch, kept: Sequence[Tensor]) -> Batch:
    """The batch that learns from these sequences alone."""
    learn = torch.zeros(batch.num_sequences, dtype=torch.bool, device=batch.offset.device)
    for rows in kept:
        learn[rows] = True
    return replace(batch, learn=learn)
