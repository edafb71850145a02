"""Quantities that many losses share."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.types import Max, Mean, Metric

LIMIT = 20.0
"""Default clamp of log-ratios before exp; beyond +-LIMIT the gradient is 0."""
LARGEST = 80.0
"""The largest clamp that a loss may set: above 88 exp overflows in fp32."""


def since_old(now: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """[N] log pi - log pi_old, 0 where not trained. Without a column of the old policy, the detached new one
    takes its place: the value is 0, with the gradient of log pi."""
    old = now["logp"].detach() if batch.old_logp is None else batch.old_logp
    return ragged.difference(now["logp"], old, batch.trained)


def log_ratio(now: Mapping[str, Tensor], batch: Batch, limit: float = LIMIT) -> Tensor:
    """[N] `since_old`, clamped to +-limit."""
    return since_old(now, batch).clamp(-limit, limit)


def times_logp(factor: Tensor, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """[N] factor * log pi, 0 where not trained and where the factor is 0, also for a log-prob of -inf."""
    return factor * torch.where(batch.trained & (factor != 0), now["logp"], 0)


def advantage_of(batch: Batch, asker: object) -> Tensor:
    """[N] advantage, 0 where not trained."""
    return torch.where(batch.trained, batch.need("advantage", asker), 0)


class Clips(Protocol):
    """A loss that bounds its ratio to [1 - clip_low, 1 + clip_high]."""

    @property
    def clip_low(self) -> float: ...

    @property
    def clip_high(self) -> float: ...


def mean_over(values: Tensor, mask: Tensor) -> Mean:
    """A metric: the mean over the mask."""
    return Mean(torch.where(mask, values, 0).sum(), mask.sum())


def clip_metrics(ratio: Tensor, advantage: Tensor, clip: Clips, counted: Tensor) -> dict[str, Metric]:
    """clip/{frac,low,high}, ratio/{mean,max}: a ratio is clipped where the bound on it decides the loss."""
    low = (ratio < 1 - clip.clip_low) & (advantage < 0)
    high = (ratio > 1 + clip.clip_high) & (advantage > 0)
    return {
        "clip/frac": mean_over(low | high, counted),
        "clip/low": mean_over(low, counted),
        "clip/high": mean_over(high, counted),
        "ratio/mean": mean_over(ratio, counted),
        "ratio/max": Max(torch.where(counted, ratio, 0).amax() if len(ratio) else 0.0),
    }


def clipped(ratio: Tensor, advantage: Tensor, clip: Clips, bound: float | None = None) -> Tensor:
    """max(-A rho, -A clip(rho)): PPO's loss; where A < 0 at most -A bound, if there is one."""
    loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - clip.clip_low, 1 + clip.clip_high))
    if bound is None:
        return loss
    return torch.where(advantage < 0, torch.minimum(loss, -advantage * bound), loss)


def check_limit(limit: float, asker: object) -> None:
    """UserError unless exp stays finite."""
    if not 0 < limit <= LARGEST:
        raise UserError(
            f"limit {limit} of {type(asker).__name__} bounds a log-ratio, whose exponential overflows "
            f"above {LARGEST:g}; "
            "set it above 0 and at most there"
        )


def check_clip(clip: Clips) -> None:
    """UserError unless the bounds enclose 1 and leave ratios positive."""
    if not 0 <= clip.clip_low <= 1 or clip.clip_high < 0:
        raise UserError(
            f"clip_low {clip.clip_low} and clip_high {clip.clip_high} of {type(clip).__name__} bound the "
            "ratio to"
            " [1 - clip_low, 1 + clip_high]; clip_low lies between 0 and 1, clip_high is 0 or more"
        )


def check_bound(bound: float | None, clip: Clips) -> None:
    """UserError unless the bound on the ratio, if there is one, lies above the clip range."""
    if bound is not None and bound <= 1 + clip.clip_high:
        raise UserError(
            f"bound of {type(clip).__name__} is {bound}; it bounds a ratio above 1 + clip_high = "
            f"{1 + clip.clip_high:g}"
        )
