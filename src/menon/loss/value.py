"""Regression of a critic on its targets (PPO's reference code; Open-Reasoner-Zero clips at .2; ReaLHF offers
Huber)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import VALUE, Need


@dataclass(frozen=True)
class ValueLoss:
    """l_t = max((v - ret)^2, (clip(v, v_old - c, v_old + c) - ret)^2) / 2 with c = `clip`; no clip: (v -
    ret)^2 / 2.

    v is the critic's value now, v_old (column "value") its value before the step. A clipped token has no
    gradient. `huber` = d replaces e^2 / 2 by d (|e| - d / 2) where the error |e| is above d, so that no
    gradient with respect to v is larger than d.
    """

    clip: float | None = None
    """Most that a value may move in a step; null: no clip."""
    huber: float | None = None
    """Error above which the loss is linear; null: squared everywhere."""
    kind: Literal["value"] = "value"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = (VALUE,)
    reads: ClassVar[tuple[str, ...]] = ("value", "ret")

    def __post_init__(self) -> None:
        for name, number in (("clip", self.clip), ("huber", self.huber)):
            if number is not None and number <= 0:
                raise UserError(f"{name} of ValueLoss is {number}; it must be positive, or null for none")

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        value = torch.where(batch.trained, now["value"], 0)
        target = torch.where(batch.trained, batch.need("ret", self), 0)
        loss = self._penalty(value - target)
        if self.clip is not None:
            old = torch.where(batch.trained, batch.need("value", self), 0)
            held = torch.clamp(value, old - self.clip, old + self.clip)
            loss = torch.maximum(loss, self._penalty(held - target))
        return loss

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {"value/loss": mean_over(self(now, batch), batch.trained)}

    def _penalty(self, error: Tensor) -> Tensor:
        if self.huber is None:
            return error.square() / 2
        return huber_loss(error, torch.zeros_like(error), reduction="none", delta=self.huber)
