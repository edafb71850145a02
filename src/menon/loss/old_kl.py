"""The KL penalty of PPO's second form: how far the policy has moved within a step (arXiv 1707.06347, section
4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon.batch import Batch
from menon.loss.ratio import log_ratio, mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class OldKL:
    """l_t = rho_t - 1 - log rho_t, rho = pi / pi_old: an unbiased estimate of KL(pi_old || pi), never
    negative.

    Its gradient (rho - 1) grad log pi is 0 on the first update of a step. The log-ratio is clamped to +-20.
    The result is not clamped, because a clamp would remove the gradient of exactly those tokens that moved
    too far. kl/old is its mean over the later updates of a step; the advantage part `penalty_coefficient`
    steers the coefficient by it.
    """

    kind: Literal["old_kl"] = "old_kl"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("old_logp",)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        change = log_ratio(now, batch)
        return change.exp() - 1 - change

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {} if batch.old_logp is None else {"kl/old": mean_over(self(now, batch), batch.trained)}
