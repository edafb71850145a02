"""CISPO: the clipped weight of an unclipped gradient (MiniMax-M1, arXiv 2506.13585, section 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.ratio import LIMIT, advantage_of, check_limit, log_ratio, mean_over, times_logp
from menon.types import Max, Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class CISPO:
    """l_t = -sg(clip(rho_t, low, high)) A_t log pi_t, rho = pi / pi_old and sg = no gradient.

    `low` and `high` are ratios themselves, not distances from 1; low = 0 is no lower bound. Every token keeps
    a gradient, clipped or not. The log-ratio is clamped to +-`limit`. clip/low and clip/high count tokens
    whose weight is clipped.
    """

    low: float = 0.0
    """Least weight of a token; a ratio, not a distance from 1."""
    high: float = 1.28
    """Largest weight of a token; a ratio, not a distance from 1."""
    limit: float = LIMIT
    """Bound on a token's log-ratio, on both sides."""
    kind: Literal["cispo"] = "cispo"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")

    def __post_init__(self) -> None:
        check_limit(self.limit, self)
        if not 0 <= self.low <= 1 <= self.high:
            width = f"; epsilon_high={self.high:g} is high={1 + self.high:g}" if 0 < self.high < 1 else ""
            raise UserError(
                f"low {self.low} and high {self.high} of CISPO bound a ratio: low lies in [0, 1], high is "
                f"at least 1{width}"
            )

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        weight = log_ratio(now, batch, self.limit).detach().exp().clamp(self.low, self.high)
        return times_logp(-weight * advantage_of(batch, self), now, batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        ratio = log_ratio(now, batch, self.limit).exp()
        return {
            "clip/frac": mean_over((ratio < self.low) | (ratio > self.high), batch.trained),
            "clip/low": mean_over(ratio < self.low, batch.trained),
            "clip/high": mean_over(ratio > self.high, batch.trained),
            "ratio/mean": mean_over(ratio, batch.trained),
            "ratio/max": Max(torch.where(batch.trained, ratio, 0).amax() if len(ratio) else 0.0),
        }
