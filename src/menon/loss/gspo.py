"""GSPO: the ratio of a whole sequence (arXiv 2507.18071, equations 5 to 7); as a product, RLOO's (arXiv
2402.14740)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.loss.ratio import (
    advantage_of,
    check_bound,
    check_clip,
    check_limit,
    clipped,
    mean_over,
    since_old,
)
from menon.types import Max, Mean, Metric, Unit
from menon.update.protocols import Need

LIMIT = 10.0
"""Default upper clamp of the log of a sequence's ratio; above it the gradient is 0."""


@dataclass(frozen=True)
class GSPO:
    """l_i = mean over the tokens of max(-A_t s_i, -A_t clip(s_i, 1 - clip_low, 1 + clip_high)), s_i =
    exp(mean over the tokens of log pi - log pi_old).

    One number per sequence, on its last action token; aggregation `SequenceMean`. Where all tokens of an
    answer have the same advantage, value and gradient are those of the token form with each sequence's token
    mean; where they do not, only the value is. An empty answer has no number. log s_i is clamped to at most
    `limit`. With `bound`, a token with A < 0 has at most the loss -A bound, as in `DualClip`.
    Clip ranges are much smaller than PPO's, because s_i is the geometric mean of many ratios. ratio="product"
    takes the sum instead of the mean: the ratio of the answers' probabilities, which importance sampling asks
    for and which grows with length; with PPO's ranges it is the clipped sequence loss of RLOO's
    implementations.
    """

    clip_low: float = 3e-4
    """The answer's ratio is clipped below 1 - clip_low; far smaller than PPO's."""
    clip_high: float = 4e-4
    """The answer's ratio is clipped above 1 + clip_high; far smaller than PPO's."""
    ratio: Literal["mean", "product"] = "mean"
    """Geometric mean of the tokens' ratios, or their product."""
    limit: float = LIMIT
    """Upper bound on the log of an answer's ratio."""
    bound: float | None = None
    """Largest ratio with a gradient where the advantage is negative; null: none."""
    kind: Literal["gspo"] = "gspo"
    unit: ClassVar[Unit] = "sequence"
    per: ClassVar[Unit] = "sequence"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")

    def __post_init__(self) -> None:
        check_clip(self)
        check_limit(self.limit, self)
        check_bound(self.bound, self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        ratio = ragged.spread(self._ratios(now, batch), batch.offset, batch.num_tokens)
        loss = clipped(ratio, advantage_of(batch, self), self, self.bound)
        mean_S = ragged.sequence_sum(loss, batch.offset) / batch.action_lengths.clamp(min=1)
        present = batch.action_lengths > 0
        place_S = ragged.last(batch.trained, batch.offset)[present]
        return loss.new_zeros(batch.num_tokens).index_add(0, place_S, mean_S[present])

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        """The shares are of answers; one whose tokens are not all clipped counts by their share."""
        present, ratio_S = batch.action_lengths > 0, self._ratios(now, batch)
        advantage, size_S = advantage_of(batch, self), batch.action_lengths.clamp(min=1)
        worse_S = ragged.sequence_sum((advantage < 0).to(ratio_S), batch.offset) / size_S
        better_S = ragged.sequence_sum((advantage > 0).to(ratio_S), batch.offset) / size_S
        low = mean_over(worse_S * (ratio_S < 1 - self.clip_low), present)
        high = mean_over(better_S * (ratio_S > 1 + self.clip_high), present)
        return {
            "clip/frac": Mean(low.total + high.total, low.count),
            "clip/low": low,
            "clip/high": high,
            "ratio/mean": mean_over(ratio_S, present),
            "ratio/max": Max(torch.where(present, ratio_S, 0).amax() if len(ratio_S) else 0.0),
        }

    def _ratios(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """[S] s_i; 1 for an empty answer."""
        change_S = ragged.sequence_sum(since_old(now, batch), batch.offset)
        size_S = batch.action_lengths.clamp(min=1) if self.ratio == "mean" else 1
        return (change_S / size_S).clamp(max=self.limit).exp()
