"""Direct value optimisation: the log-ratio of an answer is fitted to its advantage (a loss in the code of
SPO, arXiv 2505.23564)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.loss.groups import on_answers, sums_of_log_ratios
from menon.loss.pairs import check_beta
from menon.loss.ratio import advantage_of, mean_over, since_old
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class DVO:
    """l_i = w_i/2 (beta h_i - A_i)^2, h_i = log pi(y_i) - log ref(y_i), w_i = min(pi(y_i) / pi_old(y_i),
    `max_weight`) without gradient.

    A_i is the advantage of the answer's last action token, which all of its tokens share with estimators that
    compare answers. The loss is 0 where pi = ref exp(A / beta): with A = r - beta log Z that is the optimum
    of E[r] - beta KL, with other baselines it is only near it (`trajectory_balance` estimates log Z). One
    number per answer, on its last action token; aggregation `SequenceMean`.
    """

    beta: float = 0.1
    """Weight of the reference: an advantage counts A / beta nats."""
    max_weight: float = 10.0
    """Largest weight of an answer that has become likelier since the old policy."""
    kind: Literal["dvo"] = "dvo"
    unit: ClassVar[Unit] = "sequence"
    per: ClassVar[Unit] = "sequence"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp", "old_logp", "advantage")

    def __post_init__(self) -> None:
        check_beta(self)
        if not self.max_weight > 0:
            raise UserError(f"max_weight of DVO is {self.max_weight}; it bounds a ratio and must be positive")

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        ratio_S = ragged.sequence_sum(since_old(now, batch).detach(), batch.offset).exp()
        off_S = torch.where(ratio_S > 0, self._off(now, batch), 0)  # 0 times infinity is nan
        return on_answers(0.5 * ratio_S.clamp(max=self.max_weight) * off_S.square(), batch)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {"dvo/off": mean_over(self._off(now, batch).abs(), batch.action_lengths > 0)}

    def _off(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """[S] beta h - A."""
        last_S = ragged.last(batch.trained, batch.offset)
        aim_S = torch.where(batch.action_lengths > 0, advantage_of(batch, self)[last_S], 0)
        return self.beta * sums_of_log_ratios(now, batch, self) - aim_S
