"""Keeps only the tokens of highest entropy (Beyond the 80/20 Rule, arXiv 2506.01939)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.types import Unit
from menon.update.protocols import Current


@dataclass(frozen=True)
class TopEntropy:
    """Keeps the tokens whose entropy is at least the k-th largest of the whole update, k = ceil(fraction N),
    N trained tokens.

    Ties at the threshold all stay, so equal entropies keep every token. "current" entropies are those of the
    policy as it is before this update, "old" those before the step. The authors divide by the number of kept
    tokens: aggregation `SelectedMean`. `keep` "bottom" keeps the k tokens of least entropy instead, for the
    ablation in which performance collapses.
    """

    fraction: float = 0.2
    """Share of the tokens that is kept."""
    statistics: Literal["current", "old"] = "current"
    """Entropies of the policy before this update, or before the step."""
    keep: Literal["top", "bottom"] = "top"
    """The tokens of most entropy, or of least."""
    kind: Literal["top_entropy"] = "top_entropy"
    per: ClassVar[Unit] = "token"
    column: ClassVar[str] = "top_entropy"

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise UserError(
                f"fraction of TopEntropy is {self.fraction}; it must be above 0 and at most 1 (1 keeps "
                "every token)"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return ("old_entropy",) if self.statistics == "old" else ()

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        entropy = (
            current("entropy")["entropy"] if self.statistics == "current" else batch.need("entropy", self)
        )
        height = entropy if self.keep == "top" else -entropy
        known = height[batch.trained]
        if not len(known):
            return {self.column: batch.trained}
        threshold = known.topk(math.ceil(self.fraction * len(known))).values[-1]
        return {self.column: torch.where(batch.trained, height, -math.inf) >= threshold}

    def __call__(self, batch: Batch) -> Tensor:
        return batch.columns[self.column]
