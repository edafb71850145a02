"""Entropy bonus (Williams and Peng 1991; A3C, arXiv 1602.01783)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.types import Metric, Unit
from menon.update.protocols import Need


@dataclass(frozen=True)
class EntropyBonus:
    """l_t = -H_t, the entropy over the whole vocabulary at the sampling temperature; a positive coefficient
    raises it."""

    kind: Literal["entropy"] = "entropy"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("entropy",)
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return -torch.where(batch.trained, now["entropy"], 0)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {}
