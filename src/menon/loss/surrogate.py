"""The surrogate objective that PPO clips and TRPO constrains, without clip or constraint (arXiv 1502.05477,
section 5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.loss.ratio import advantage_of, log_ratio, mean_over
from menon.types import Max, Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class Surrogate:
    """l_t = -A_t rho_t, rho = pi / pi_old with its log clamped to +-20.

    Nothing bounds the ratio, so use it with a penalty (`OldKL`), a trust region (the setting `natural`) or a
    single update per step.
    """

    kind: Literal["surrogate"] = "surrogate"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp")

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return -advantage_of(batch, self) * log_ratio(now, batch).exp()

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        ratio = log_ratio(now, batch).exp()
        return {
            "ratio/mean": mean_over(ratio, batch.trained),
            "ratio/max": Max(torch.where(batch.trained, ratio, 0).amax() if len(ratio) else 0.0),
        }
