"""GSPO: the ratio of a whole sequence (arXiv 2507.18071, equations 5 to 7); as a product, RLOO's (arXiv
2402.14740)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.loss.ratio import advantage_of, check_clip, check_limit, clip_metrics
from menon.types import Metric, Unit
from menon.update.protocols import Need

LIMIT = 10.0
"""Default upper clamp of the log of a sequence's ratio; above it the gradient is 0."""


@dataclass(frozen=True)
class GSPO:
    """l_i = max(-a_i s_i, -a_i clip(s_i, 1 - clip_low, 1 + clip_high)), s_i = exp(mean over the tokens of log
    pi - log pi_old).

    One number per sequence, on its last action token; aggregation `SequenceMean`. a_i is the advantage of
    that token (group estimators give all tokens the same). Value and gradient are those of the token form
    with each sequence's token mean. An empty answer has no number. log s_i is clamped to at most `limit`.
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
    kind: Literal["gspo"] = "gspo"
    unit: ClassVar[Unit] = "sequence"
    per: ClassVar[Unit] = "sequence"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")

    def __post_init__(self) -> None:
        check_clip(self)
        check_limit(self.limit, self)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        ratio_S, advantage_S, place_S = self._of_sequences(now, batch)
        clipped_S = ratio_S.clamp(1 - self.clip_low, 1 + self.clip_high)
        loss_S = torch.maximum(-advantage_S * ratio_S, -advantage_S * clipped_S)
        return loss_S.new_zeros(batch.num_tokens).index_add(0, place_S, loss_S)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        ratio_S, advantage_S, _ = self._of_sequences(now, batch)
        return clip_metrics(ratio_S, advantage_S, self, torch.ones_like(ratio_S, dtype=torch.bool))

    def _of_sequences(self, now: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Ratio, advantage and last action token of each sequence that has one."""
        logp = now["logp"]
        old = logp.detach() if batch.old_logp is None else batch.old_logp
        change_S = ragged.sequence_sum(torch.where(batch.trained, logp - old, 0), batch.offset)
        present = batch.action_lengths > 0
        place_S = ragged.last(batch.trained, batch.offset)[present]
        size_S = batch.action_lengths[present] if self.ratio == "mean" else 1
        ratio_S = (change_S[present] / size_S).clamp(max=self.limit).exp()
        return ratio_S, advantage_of(batch, self)[place_S], place_S
