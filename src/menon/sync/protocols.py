"""The seam between the weights that learn and the sampler that writes with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from menon.rollout.protocols import Sampler


@dataclass(frozen=True)
class Published:
    """What a sampler holds after new weights have come."""

    version: int
    fingerprint: str


class WeightChannel(Protocol):
    """Made with both its ends by whatever places them (`assembly.placement`)."""

    def publish(self, version: int) -> Published:
        """Gives the sampler the weights that the policy has now, under that version, and checks that both
        ends hold the same; RuntimeError if they do not."""
        ...


class HasWeights(Protocol):
    """A model whose weights are in this process."""

    def weights(self) -> Mapping[str, Tensor]:
        """Name -> tensor, the live ones, tied ones once."""
        ...


@runtime_checkable
class Holder(Sampler, HasWeights, Protocol):
    """A sampler whose weights are in this process, under the policy's names."""
