"""Preferences: which two sequences of a batch belong together."""

import torch
from torch import Tensor

from menon.batch import Batch, unit_of
from menon.errors import UserError


def pairs_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Sequences [P] that are preferred and [P] those that they are preferred to, one entry per pair, sorted
    by pair number.

    Left out are pairs with an invalid sequence and pairs whose preferred answer is empty (it has no token for
    the number). UserError unless each pair holds one sequence with acc 1 and one with acc 0.
    """
    name, index, size = torch.unique(unit_of(batch, "pair"), return_inverse=True, return_counts=True)
    rows = torch.argsort(2 * index + (batch.acc != 1).long(), stable=True)
    wrong = size != 2
    if not wrong.any():
        preferred, other = rows.view(-1, 2).unbind(1)
        wrong = (batch.acc[preferred] != 1) | (batch.acc[other] != 0)
    if wrong.any():
        raise UserError(
            f"pair {int(name[wrong][0])} must hold two answers, the preferred with acc 1 and the other "
            "with acc 0"
        )
    usable = (batch.action_lengths[preferred] > 0) & batch.valid[other]
    return preferred[usable], other[usable]
