"""Estimators that compare the answers to one prompt: one number per answer, the same for each of its tokens."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch


def credit_groups(batch: Batch, credit_of: Callable[[Tensor], Tensor]) -> Batch:
    """Sets the advantage: `credit_of` maps the outcomes [G] of one group to the credit [G] of its answers, both in fp64.

    Groups whose outcomes are all equal, groups of one among them, carry no signal: their credit is exactly 0, without rounding.
    An empty answer counts in its group's statistics although it has no token to credit. An invalid one does not, and gets 0.
    """
    outcome = batch.outcome.double()
    credit = torch.zeros_like(outcome)
    rows = batch.valid.nonzero()[:, 0]
    _, index = torch.unique(batch.group[rows], return_inverse=True)
    for members in rows[torch.argsort(index, stable=True)].split(index.bincount().tolist()):
        outcome_G = outcome[members]
        if outcome_G.max() > outcome_G.min():
            credit[members] = credit_of(outcome_G)
    per_token = ragged.spread(credit, batch.offset).to(batch.reward.dtype)
    return replace(batch, advantage=torch.where(batch.trained, per_token, 0))
