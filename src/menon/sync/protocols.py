"""The seam between a learner's weights and a sampler."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from menon.rollout.protocols import Sampler
from menon.update.protocols import Learner


@runtime_checkable
class Holder(Sampler, Protocol):
    """A sampler whose weights can be reached from this process."""

    def weights(self) -> Mapping[str, Tensor]:
        """Name -> tensor, the live ones, tied ones once, under the learner's names."""
        ...


class WeightChannel(Protocol):
    def publish(self, learner: Learner, sampler: Sampler) -> str:
        """Gives the sampler the learner's weights, raises its version, checks that both hold the same; their
        fingerprint."""
        ...
