"""Regression of a critic on its targets (PPO's reference code; Open-Reasoner-Zero clips at .2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class ValueLoss:
    """l_t = max((v - ret)^2, (clip(v, v_old - c, v_old + c) - ret)^2) / 2 with c = `clip`; no clip: (v - ret)^2 / 2.

    v is the critic's value now, v_old (column "value") that from before the step. A token held by the clip has no gradient.
    """

    clip: float | None = None
    kind: Literal["value"] = "value"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("value",)
    reads: ClassVar[tuple[str, ...]] = ("value", "ret")

    def __post_init__(self) -> None:
        if self.clip is not None and self.clip <= 0:
            raise UserError(f"clip of ValueLoss is {self.clip}; it must be positive, or null for none")

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        value = torch.where(batch.trained, now["value"], 0)
        target = torch.where(batch.trained, batch.need("ret", self), 0)
        error = (value - target).square()
        if self.clip is not None:
            old = torch.where(batch.trained, batch.need("value", self), 0)
            held = torch.clamp(value, old - self.clip, old + self.clip)
            error = torch.maximum(error, (held - target).square())
        return error / 2

    def watch(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {"value/loss": mean_over(self(now, batch), batch.trained)}
