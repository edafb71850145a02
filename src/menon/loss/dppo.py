"""A trust region in probability instead of in ratio, against the policy that wrote the text (DPPO, arXiv
2602.04879)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.ratio import LIMIT, advantage_of, check_limit, log_ratio, mean_over
from menon.types import Max, Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class DPPO:
    """l_t = -A_t rho_t, 0 for tokens outside of the region, plus `drift` (log rho_t)^2 on every token; rho =
    pi / pi_behaviour.

    p is the token's probability, p_behaviour that of the policy that wrote it. A token is outside if its
    advantage has pushed it too far: p - p_behaviour above `high` where A > 0, below -`low` where A < 0. With
    `sides` "both" a token is outside if it is too far on either side, for any advantage. A ratio bound holds
    rare tokens tightly and likely ones hardly at all; a bound on probabilities does the opposite. `distance`
    "kl" measures KL(Bernoulli(p_behaviour) || Bernoulli(p)) instead of |p - p_behaviour|. The log-ratio is
    clamped to +-`limit`. clip/frac counts the tokens outside.
    """

    low: float = 0.2
    """Most that a probability may fall where the advantage is negative."""
    high: float = 0.2
    """Most that a probability may rise where the advantage is positive."""
    drift: float = 1e-3
    """Coefficient of the squared log-ratio on every token."""
    sides: Literal["one", "both"] = "one"
    """Outside on the side where the advantage pushes, or on either side."""
    distance: Literal["tv", "kl"] = "tv"
    """How far two probabilities are apart: their difference, or their KL."""
    limit: float = LIMIT
    """Bound on a token's log-ratio, on both sides."""
    kind: Literal["dppo"] = "dppo"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "behaviour_logp")

    def __post_init__(self) -> None:
        check_limit(self.limit, self)
        if min(self.low, self.high, self.drift) < 0:
            raise UserError(
                f"low {self.low}, high {self.high} and drift {self.drift} of DPPO must be 0 or positive"
            )

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        change, advantage = self._change(now, batch), advantage_of(batch, self)
        outside = self._outside(now["logp"].detach(), advantage, batch)
        return torch.where(outside, 0, -advantage * change.exp()) + self.drift * change.square()

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        ratio = self._change(now, batch).exp()
        return {
            "clip/frac": mean_over(
                self._outside(now["logp"], advantage_of(batch, self), batch), batch.trained
            ),
            "ratio/mean": mean_over(ratio, batch.trained),
            "ratio/max": Max(torch.where(batch.trained, ratio, 0).amax() if len(ratio) else 0.0),
        }

    def _change(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return log_ratio(now, replace(batch, old_logp=batch.need("behaviour_logp", self)), self.limit)

    def _outside(self, logp: Tensor, advantage: Tensor, batch: Batch) -> Tensor:
        p, q = logp.exp(), batch.need("behaviour_logp", self).exp()
        distance = (p - q).abs() if self.distance == "tv" else _bernoulli_kl(q, p)
        high, low = (p > q) & (distance > self.high), (p < q) & (distance > self.low)
        return high | low if self.sides == "both" else (high & (advantage > 0)) | (low & (advantage < 0))


def _bernoulli_kl(q: Tensor, p: Tensor) -> Tensor:
    tiny = torch.finfo(p.dtype).eps
    q, p = q.clamp(tiny, 1 - tiny), p.clamp(tiny, 1 - tiny)
    return q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
