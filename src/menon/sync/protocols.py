"""The protocol that brings the learner's weights to the sampler."""

from collections.abc import Mapping
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
