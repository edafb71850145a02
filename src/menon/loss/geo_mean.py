"""GMPO: the geometric mean of clipped token ratios (arXiv 2507.20673)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.loss.ratio import LIMIT, advantage_of, check_limit, log_ratio, mean_over
from menon.types import Max, Mean, Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class GeoMean:
    """l_i = -a_i exp(mean over t of d'_t), d_t = log pi - log pi_old clamped on the side where the loss would
    gain: d' = min(d, high) where A > 0, max(d, -low) where A < 0, 0 where A = 0.

    One number per sequence, on its last action token; aggregation `SequenceMean`. a_i is the mean advantage
    of its tokens. The bounds are log-ratios. An outlier token moves a geometric mean less than PPO's
    arithmetic one. An empty answer has no number. d is first clamped to +-`limit`.
    """

    low: float = 0.4
    """Bound on a token's log-ratio where the advantage is negative."""
    high: float = 0.4
    """Bound on a token's log-ratio where the advantage is positive."""
    limit: float = LIMIT
    """Bound on a token's log-ratio, on both sides."""
    kind: Literal["geo_mean"] = "geo_mean"
    unit: ClassVar[Unit] = "sequence"
    per: ClassVar[Unit] = "sequence"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")

    def __post_init__(self) -> None:
        check_limit(self.limit, self)
        if self.low < 0 or self.high < 0:
            raise UserError(
                f"low {self.low} and high {self.high} of GeoMean are distances of a log-ratio from 0; "
                "none is negative"
            )

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        ratio_S, present = self._ratio(now, batch)
        length_S = batch.action_lengths[present]
        advantage_S = ragged.sequence_sum(advantage_of(batch, self), batch.offset)[present] / length_S
        place_S = ragged.last(batch.trained, batch.offset)[present]
        return ratio_S.new_zeros(batch.num_tokens).index_add(0, place_S, -advantage_S * ratio_S)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        change, advantage = log_ratio(now, batch, self.limit), advantage_of(batch, self)
        low, high = (change < -self.low) & (advantage < 0), (change > self.high) & (advantage > 0)
        ratio_S, _ = self._ratio(now, batch)
        return {
            "clip/frac": mean_over(low | high, batch.trained),
            "clip/low": mean_over(low, batch.trained),
            "clip/high": mean_over(high, batch.trained),
            "ratio/mean": Mean(ratio_S.sum(), len(ratio_S)),
            "ratio/max": Max(ratio_S.amax() if len(ratio_S) else 0.0),
        }

    def _ratio(self, now: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """The ratio of each sequence that has a token, and which sequences these are."""
        change, advantage = log_ratio(now, batch, self.limit), advantage_of(batch, self)
        sign = advantage.sign()
        change = sign * torch.minimum(sign * change, sign * change.clamp(-self.low, self.high))
        present = batch.action_lengths > 0
        total_S = ragged.sequence_sum(torch.where(batch.trained, change, 0), batch.offset)
        return (total_S[present] / batch.action_lengths[present]).exp(), present
