"""Divergence between how a model and a teacher attend (MobileBERT: Sun et al., arXiv 2004.02984)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.loss.layer_map import LayerMap, check_map, pairs_of, weighted
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Inside, Need


@dataclass(frozen=True)
class AttentionMaps:
    """l_t = sum over pairs of layers of w KL(P_t || Q_t): how the token before t attends to itself and to the
    tokens before it, in a layer of the teacher (P) and of the policy (Q). It is the mean over heads, head by
    head. Models with different numbers of heads are compared by the mean of their heads' maps.
    """

    layers: LayerMap = "uniform"
    """Pairs of layers, the policy's first; uniform: every layer of the policy, and the teacher's at the same
    share of its depth."""
    weights: tuple[float, ...] = ()
    """A factor for each of the pairs; empty: 1."""
    kind: Literal["attention_maps"] = "attention_maps"
    unit: ClassVar[Unit] = "token"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_map(self.layers, self.weights, "attention_maps")

    @property
    def needs(self) -> tuple[Need, ...]:
        return (Inside(repr(self), self.between, self.pairs, "teacher", "attention"),)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return torch.where(batch.trained, now[repr(self)], 0)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {"distill/attention": mean_over(now[repr(self)], batch.trained)}

    def pairs(self, depth: int, other: int) -> tuple[tuple[int, int], ...]:
        return pairs_of(self.layers, depth, other, lowest=1)

    def between(self, compared: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """[n, heads, L] maps of the policy and of the teacher, for each pair -> [n]."""
        return weighted([_apart(own, other) for own, other in compared], self.weights)


def _apart(own: Tensor, other: Tensor) -> Tensor:
    if own.shape[1] != other.shape[1]:
        own, other = own.mean(1, keepdim=True), other.mean(1, keepdim=True)
    least = torch.finfo(own.dtype).tiny  # later tokens have probability 0 in both
    return (other * (other.clamp(min=least).log() - own.clamp(min=least).log())).sum(-1).mean(1)
