"""Estimators that compare the answers to one prompt: one number per answer, the same for each of its
tokens."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch


def groups_with_signal(batch: Batch) -> Iterator[Tensor]:
    """The answers [G] of each group whose outcomes are not all equal, in the order of the batch; those whose
    grader failed are left out. A group of one is never among them."""
    outcome, rows = batch.outcome, batch.valid.nonzero()[:, 0]
    _, index = torch.unique(batch.group[rows], return_inverse=True)
    for members in rows[torch.argsort(index, stable=True)].split(index.bincount().tolist()):
        if outcome[members].max() > outcome[members].min():
            yield members


def credit_answers(batch: Batch, credit: Tensor) -> Batch:
    """Sets the advantage: every trained token gets the credit [S] of its answer."""
    per_token = ragged.spread(credit, batch.offset).to(batch.reward.dtype)
    return replace(batch, advantage=torch.where(batch.trained, per_token, 0))


def group_credit(batch: Batch, credit_of: Callable[[Tensor], Tensor]) -> Tensor:
    """[S] credit of each answer, in fp64: `credit_of` maps the outcomes [G] of one group to the credit [G] of
    its answers.

    Groups whose outcomes are all equal, groups of one among them, carry no signal: their credit is exactly 0,
    without rounding. An empty answer counts in its group's statistics although it has no token to credit. An
    answer whose grader failed does not count, and gets 0.
    """
    outcome = batch.outcome.double()
    credit = torch.zeros_like(outcome)
    for members in groups_with_signal(batch):
        credit[members] = credit_of(outcome[members])
    return credit


def credit_groups(batch: Batch, credit_of: Callable[[Tensor], Tensor]) -> Batch:
    """The batch in which every trained token has the `group_credit` of its answer."""
    return credit_answers(batch, group_credit(batch, credit_of))
