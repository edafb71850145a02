"""Answers after the prompts of other questions, by which KTO estimates how far the policy is from its
reference."""

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.update.protocols import Current


def distance(batch: Batch, current: Current) -> Tensor:
    """max(0, mean over `mismatched` answers of log pi - log ref, each summed over its tokens), without
    gradient."""
    other = mismatched(batch)
    policy, reference = (current("logp", role=role, on=other)["logp"] for role in ("", "reference"))
    gain_S = ragged.sequence_sum(ragged.difference(policy, reference, other.trained), other.offset)
    kl = gain_S.mean() if len(gain_S) else gain_S.sum()
    return kl.to(batch.reward).clamp(0, torch.finfo(batch.reward.dtype).max)


def mismatched(batch: Batch) -> Batch:
    """[K] sequences: each answer that trains after the prompt of the group before its own, in the cyclic
    order of group numbers.

    A prompt is what comes before the first trained token. The order of the batch does not matter. The longest
    prompt and the longest answer must fit the model's context together. UserError if all answers are of one
    group.
    """
    present = (batch.action_lengths > 0).nonzero()[:, 0]
    names, group = torch.unique(batch.group[present], return_inverse=True)
    if len(names) == 1:
        raise UserError(
            "KTO compares with answers after the prompts of other questions, and this update holds one "
            "prompt; put more prompts into an update"
        )
    start, first = batch.offset[:-1], ragged.first(batch.trained, batch.offset)
    example = torch.zeros_like(names).scatter_reduce(0, group, present, reduce="amin", include_self=False)
    prompt = example[group - 1]  # -1: the last group comes before the first
    begin = torch.stack([start[prompt], first[present]], 1).flatten()  # prompt, answer, prompt, answer, ...
    size = torch.stack([first[prompt], batch.offset[present + 1]], 1).flatten() - begin
    cuts = torch.cat([size.new_zeros(1), size.cumsum(0)])
    shift = ragged.spread(begin - cuts[:-1], cuts)
    index = torch.arange(len(shift), device=shift.device) + shift
    return Batch(
        offset=cuts[::2],
        token=batch.token[index],
        is_action=batch.is_action[index],
        reward=batch.reward.new_zeros(len(index)),
        group=batch.group[present],
        finish=batch.finish[present],
        valid=torch.ones_like(present, dtype=torch.bool),
        acc=batch.acc[present],
    )
