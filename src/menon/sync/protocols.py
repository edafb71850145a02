"""The protocol that brings the learner's weights to the sampler."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from menon.rollout.protocols import Sampler


@dataclass(frozen=True)
class Published:
    """The weights that a sampler holds after a publication."""

    version: int
    fingerprint: str


class WeightChannel(Protocol):
    """A channel with both its ends, made by `assembly.placement`."""

    def publish(self, version: int) -> Published:
        """Gives the sampler the policy's current weights under that version, and checks that both ends hold
        the same weights; RuntimeError if they do not."""
        ...


class HasWeights(Protocol):
    """A model whose weights are in this process."""

    def weights(self) -> Mapping[str, Tensor]:
        """Name -> tensor, the live ones, tied ones once."""
        ...


@runtime_checkable
class Holder(Sampler, HasWeights, Protocol):
    """A sampler whose weights are in this process, under the policy's names."""


@runtime_checkable
class Gives(Protocol):
    """A policy that hands out its weights, wherever they lie: in this process, or in parts on many ranks."""

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(name, whole tensor) of each weight, by the names of the policy's own model, tied ones once, heads
        beside the model left out; in any order. One tensor at a time: a caller that keeps one copies it, and
        takes all of them or closes the iterator."""
        ...
