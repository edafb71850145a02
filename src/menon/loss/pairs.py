"""Preferences: which sequences of a batch are compared, and what their losses share.

A loss over pairs gives one number per pair, on the last action token of the preferred answer.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch, unit_of
from menon.errors import UserError
from menon.types import Mean, Metric, Sum


def pairs_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Sequences [P] that are preferred and [P] those that they are preferred to, one entry per pair, sorted
    by pair number. Where more than two sequences share a number, each with acc 1 is preferred to each with
    acc 0.

    Left out are pairs with an invalid sequence, with an empty answer, or with two equal answers. UserError
    unless each number has sequences with acc 1 and with acc 0, and no others.
    """
    preferred, other, usable = _pairs(batch)
    return preferred[usable], other[usable]


def _pairs(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs, and [P] bool: those that a loss can use."""
    name, index, size_K = torch.unique(unit_of(batch, "pair"), return_inverse=True, return_counts=True)
    good_K, bad_K = (ragged.sum_by((batch.acc == acc).long(), index, len(name)) for acc in (1, 0))
    wrong = (good_K * bad_K == 0) | (good_K + bad_K != size_K)
    if wrong.any():
        raise UserError(
            f"pair {int(name[wrong][0])} must hold two answers, the preferred with acc 1 and the other "
            "with acc 0, or several of both"
        )
    rows = torch.argsort(2 * index + (batch.acc != 1).long(), stable=True)  # the good ones first
    count_K = good_K * bad_K
    number = torch.repeat_interleave(torch.arange(len(name), device=rows.device), count_K)
    place = torch.arange(len(number), device=rows.device) - (count_K.cumsum(0) - count_K)[number]
    first = (size_K.cumsum(0) - size_K)[number]
    preferred = rows[first + place // bad_K[number]]
    other = rows[first + good_K[number] + place % bad_K[number]]
    size_S = batch.action_lengths
    answer = ragged.pad(torch.where(batch.trained, batch.token, -1), batch.offset, fill=-1)
    equal = (answer[preferred] == answer[other]).all(1)
    return preferred, other, (size_S[preferred] > 0) & (size_S[other] > 0) & ~equal


def of_pairs(values_S: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """[S] -> [P] of the preferred answers, and [P] of the others."""
    preferred, other = pairs_of(batch)
    return values_S[preferred], values_S[other]


def log_probs(now: Mapping[str, Tensor], batch: Batch, average: bool = False) -> tuple[Tensor, Tensor]:
    """[P] log pi of the preferred answers and [P] of the others: sums over their tokens, or means."""
    return _by_pair(torch.where(batch.trained, now["logp"], 0), batch, average)


def log_ratios(
    now: Mapping[str, Tensor], batch: Batch, asker: object, average: bool = False
) -> tuple[Tensor, Tensor]:
    """The same of log pi - log ref."""
    gain = ragged.difference(now["logp"], batch.need("ref_logp", asker), batch.trained)
    return _by_pair(gain, batch, average)


def _by_pair(values: Tensor, batch: Batch, average: bool) -> tuple[Tensor, Tensor]:
    total_S = ragged.sequence_sum(values, batch.offset)
    return of_pairs(total_S / batch.action_lengths.clamp(min=1) if average else total_S, batch)


def ahead(preferred: Tensor, other: Tensor) -> Tensor:
    """[P] how far the preferred answers are ahead. Answers that are both impossible are equal."""
    return ragged.difference(preferred, other, torch.ones_like(preferred, dtype=torch.bool))


def on_pairs(loss_P: Tensor, batch: Batch) -> Tensor:
    """[P] -> [N]: each pair's number on the last action token of its preferred answer, 0 elsewhere."""
    preferred, _ = pairs_of(batch)
    place_P = ragged.last(batch.trained, batch.offset)[preferred]
    return loss_P.new_zeros(batch.num_tokens).index_add(0, place_P, loss_P)


def pair_metrics(
    preferred: Tensor, other: Tensor, now: Mapping[str, Tensor], batch: Batch
) -> dict[str, Metric]:
    """pairs/* of the rewards [P] of both answers, as the loss defines a reward. A pair of equal rewards
    counts half in the accuracy, as all pairs do where the policy is still the reference."""
    margin, count = ahead(preferred, other), len(preferred)
    right = (margin > 0).to(margin) + 0.5 * (margin == 0).to(margin)
    metrics: dict[str, Metric] = {
        "pairs/accuracy": Mean(right.sum(), count),
        "pairs/margin": Mean(margin.sum(), count),
        "pairs/chosen_reward": Mean(preferred.sum(), count),
        "pairs/rejected_reward": Mean(other.sum(), count),
        "pairs/dropped": Sum((~_pairs(batch)[2]).sum()),
    }
    if "logp" in now:
        chosen, rejected = log_probs(now, batch)
        metrics["pairs/chosen_logp"] = Mean(chosen.sum(), count)
        metrics["pairs/rejected_logp"] = Mean(rejected.sum(), count)
    return metrics


class Scales(Protocol):
    """A loss that multiplies log-probs, or log-ratios, by a number."""

    @property
    def beta(self) -> float: ...


class Smooths(Scales, Protocol):
    """One that allows for labels that are the wrong way round."""

    @property
    def label_smoothing(self) -> float: ...


def check_beta(loss: Scales) -> None:
    """UserError unless the scale is positive."""
    if not loss.beta > 0:
        raise UserError(
            f"beta of {type(loss).__name__} is {loss.beta}; it scales how far an answer is ahead and must be "
            "positive"
        )


def check_smoothing(loss: Smooths) -> None:
    """UserError unless less than half of the labels are wrong: with half they say nothing."""
    if not 0 <= loss.label_smoothing < 0.5:
        raise UserError(
            f"label_smoothing {loss.label_smoothing} of {type(loss).__name__} is the share of labels that "
            "are the wrong way round; set it from 0 to below .5"
        )
