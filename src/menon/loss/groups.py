"""What losses over the answers to one prompt share."""

from collections.abc import Mapping

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch


def sums_of_log_ratios(now: Mapping[str, Tensor], batch: Batch, asker: object) -> Tensor:
    """[S] log pi - log ref, summed over the trained tokens of each answer."""
    gain = ragged.difference(now["logp"], batch.need("ref_logp", asker), batch.trained)
    return ragged.sequence_sum(gain, batch.offset)


def in_groups(values_S: Tensor, batch: Batch) -> Tensor:
    """[S] sums over the answers of each one's group that have trained tokens."""
    _, index = torch.unique(batch.group, return_inverse=True)
    counted = torch.where(batch.action_lengths > 0, values_S, 0)
    return ragged.sum_by(counted, index, len(index))[index]


def group_mean(values_S: Tensor, batch: Batch) -> Tensor:
    """[S] means over the answers of each one's group that have trained tokens."""
    return in_groups(values_S, batch) / in_groups(torch.ones_like(values_S), batch).clamp(min=1)


def group_softmax(values_S: Tensor, batch: Batch) -> Tensor:
    """[S] log softmax within each group, over the answers that have trained tokens; 0 for the others. Answers
    that are all impossible share alike."""
    present = batch.action_lengths > 0
    _, index = torch.unique(batch.group, return_inverse=True)
    known = torch.where(present, values_S.detach(), -torch.inf)
    most = torch.full_like(known, -torch.inf).scatter_reduce(0, index, known, reduce="amax")[index]
    centred = ragged.difference(values_S, most, present)
    return torch.where(present, centred - in_groups(centred.exp(), batch).clamp(min=1).log(), 0)


def on_answers(values_S: Tensor, batch: Batch) -> Tensor:
    """[S] -> [N]: each answer's number on its last action token, 0 elsewhere."""
    present = batch.action_lengths > 0
    place_S = ragged.last(batch.trained, batch.offset)[present]
    return values_S.new_zeros(batch.num_tokens).index_add(0, place_S, values_S[present])
