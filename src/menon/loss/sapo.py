"""SAPO: a smooth gate instead of a clip (arXiv 2511.20347)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.ratio import LIMIT, advantage_of, check_limit, log_ratio, mean_over
from menon.types import Max, Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class SAPO:
    """l_t = -A_t (4 / tau) sigmoid(tau (rho_t - 1)), tau = `tau_positive` where A > 0, else `tau_negative`.

    The slope at rho = 1 is that of the policy gradient; the value there is -2 A / tau. With a larger tau the
    gate closes sooner. Tokens with a negative advantage raise the logits of all other tokens, so their gate
    closes sooner by default. The paper's aggregation is `SequenceMeanTokenMean`. The log-ratio is clamped to
    +-`limit`. gate/mean is the slope of the gate, 1 where it is open.
    """

    tau_positive: float = 1.0
    """Sharpness of the gate where the advantage is positive."""
    tau_negative: float = 1.05
    """Sharpness of the gate where the advantage is negative."""
    limit: float = LIMIT
    """Bound on a token's log-ratio, on both sides."""
    kind: Literal["sapo"] = "sapo"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")

    def __post_init__(self) -> None:
        check_limit(self.limit, self)
        if self.tau_positive <= 0 or self.tau_negative <= 0:
            raise UserError(
                f"tau_positive {self.tau_positive} and tau_negative {self.tau_negative} of SAPO must be "
                "positive"
            )

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        ratio, advantage = log_ratio(now, batch, self.limit).exp(), advantage_of(batch, self)
        tau = self._tau(advantage)
        return -advantage * torch.sigmoid(tau * (ratio - 1)) * 4 / tau

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        ratio = log_ratio(now, batch, self.limit).exp()
        gate = torch.sigmoid(self._tau(advantage_of(batch, self)) * (ratio - 1))
        return {
            "gate/mean": mean_over(4 * gate * (1 - gate), batch.trained),
            "ratio/mean": mean_over(ratio, batch.trained),
            "ratio/max": Max(torch.where(batch.trained, ratio, 0).amax() if len(ratio) else 0.0),
        }

    def _tau(self, advantage: Tensor) -> Tensor:
        return torch.where(
            advantage > 0, advantage.new_tensor(self.tau_positive), advantage.new_tensor(self.tau_negative)
        )
