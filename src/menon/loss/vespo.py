"""VESPO: a weight that depends on the whole answer's ratio and fades smoothly on both sides (arXiv
2602.10693)."""

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
class VESPO:
    """l_t = -sg(phi(W_i)) A_t log pi_t, phi(W) = W^k exp(lam (1 - W)), W_i = exp(sum over the answer of log
    pi - log pi_old).

    k and lam are `k_positive` and `lam_positive` where A_t >= 0, else `k_negative` and `lam_negative`; sg =
    no gradient. phi is 1 at W = 1, largest at W = k / lam, and 0 at both ends: on the policy's own answers
    this is the policy gradient, and far from them it vanishes. W is a product over tokens, not a mean, so it
    varies more in longer answers. One number per token. Each token's log-ratio is clamped to +-`limit`, log W
    from above; a token that the policy now gives probability 0 has loss 0, the limit of W^k log W. gate/mean
    is the mean of phi over tokens, ratio/mean and ratio/max are of answers.
    """

    k_positive: float = 2.0
    """Power of the answer's ratio where the advantage is not negative."""
    lam_positive: float = 3.0
    """Rate of the exponential where the advantage is not negative."""
    k_negative: float = 3.0
    """Power of the answer's ratio where the advantage is negative."""
    lam_negative: float = 2.0
    """Rate of the exponential where the advantage is negative."""
    limit: float = LIMIT
    """Bound on a token's log-ratio on both sides, and on the answer's from above."""
    kind: Literal["vespo"] = "vespo"
    unit: ClassVar[Unit] = "sequence"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")

    def __post_init__(self) -> None:
        check_limit(self.limit, self)
        for name in ("k_positive", "lam_positive", "k_negative", "lam_negative"):
            if not getattr(self, name) > 0:
                raise UserError(
                    f"{name} {getattr(self, name)} of VESPO must be positive: at 0 the weight no longer fades"
                )

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        logp, advantage = now["logp"], advantage_of(batch, self)
        return (
            -self._phi(now, batch, advantage)
            * advantage
            * torch.where(batch.trained & logp.isfinite(), logp, 0)
        )

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        ratio_S = self._log_ratios(now, batch)[batch.action_lengths > 0].exp()
        return {
            "gate/mean": mean_over(self._phi(now, batch, advantage_of(batch, self)), batch.trained),
            "ratio/mean": Mean(ratio_S.sum(), len(ratio_S)),
            "ratio/max": Max(ratio_S.amax() if len(ratio_S) else 0.0),
        }

    def _phi(self, now: Mapping[str, Tensor], batch: Batch, advantage: Tensor) -> Tensor:
        """[N] phi, computed in log space, because W^k of a likely answer could overflow before it is
        multiplied by exp(-lam W)."""
        log_w = ragged.spread(self._log_ratios(now, batch), batch.offset, batch.num_tokens)
        good = advantage >= 0
        k = torch.where(
            good, advantage.new_full((), self.k_positive), advantage.new_full((), self.k_negative)
        )
        lam = torch.where(
            good, advantage.new_full((), self.lam_positive), advantage.new_full((), self.lam_negative)
        )
        return (k * log_w - lam * torch.expm1(log_w)).exp()

    def _log_ratios(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """[S] log W, without gradient."""
        return ragged.sequence_sum(log_ratio(now, batch, self.limit).detach(), batch.offset).clamp(
            max=self.limit
        )
