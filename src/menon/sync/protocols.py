"""The seam between a learner's weights and a sampler."""

from typing import Protocol

from menon.rollout.protocols import Sampler
from menon.update.protocols import Learner


class WeightChannel(Protocol):
    def publish(self, learner: Learner, sampler: Sampler) -> str:
        """Gives the sampler the learner's weights, raises its version, checks that both hold the same; their fingerprint."""
        ...
