"""Distance between a model's hidden states and a teacher's (FitNets: Romero et al., arXiv 1412.6550; a layer
map and states of all layers: TinyBERT, arXiv 1909.10351)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, layer_norm

from menon.batch import Batch
from menon.loss.layer_map import LayerMap, check_map, pairs_of, weighted
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Inside, Need


@dataclass(frozen=True)
class Features:
    """l_t = sum over pairs of layers of w D(W h_t, g_t): h_t and g_t are the states before token t in a layer
    of the policy and of the teacher. W is learned beside the policy where the widths differ, and is the
    identity where they are equal.

    mse is |W h - g|^2 / d, normalised the same after both have mean 0 and variance 1 over their d numbers,
    cosine is 1 - cos(W h, g).
    """

    distance: Literal["mse", "normalised", "cosine"] = "mse"
    """mse; normalised, the same after a layer norm of both without weights; or cosine."""
    layers: LayerMap = "uniform"
    """Pairs of layers, the policy's first, 0 for the embedding; uniform: every layer of the policy, and the
    teacher's at the same share of its depth."""
    weights: tuple[float, ...] = ()
    """A factor for each of the pairs; empty: 1."""
    kind: Literal["features"] = "features"
    unit: ClassVar[Unit] = "token"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_map(self.layers, self.weights, "features")

    @property
    def needs(self) -> tuple[Need, ...]:
        return (Inside(repr(self), self.between, self.pairs, "teacher"),)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return torch.where(batch.trained, now[repr(self)], 0)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {"distill/features": mean_over(now[repr(self)], batch.trained)}

    def pairs(self, depth: int, other: int) -> tuple[tuple[int, int], ...]:
        return pairs_of(self.layers, depth, other, lowest=0)

    def between(self, compared: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """[n, d] states of the policy, mapped, and of the teacher, for each pair -> [n]."""
        return weighted([self._apart(own, other) for own, other in compared], self.weights)

    def _apart(self, own: Tensor, other: Tensor) -> Tensor:
        if self.distance == "cosine":
            return 1 - cosine_similarity(own, other, dim=-1)
        if self.distance == "normalised":
            own, other = (layer_norm(states, states.shape[-1:]) for states in (own, other))
        return (own - other).square().mean(-1)
