"""Maximum likelihood: pre-training, SFT, and the likelihood of correct answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class NLL:
    """l_t = -log pi_t, in nats. The metric `nll` is its mean over all trained tokens, selected or not."""

    kind: Literal["nll"] = "nll"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return -torch.where(batch.trained, now["logp"], 0)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {"nll": mean_over(-now["logp"], batch.trained)}
