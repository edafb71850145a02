"""The sampler has its own weights, in its own dtype and on its own device; the policy's weights are copied
into them."""

import torch

from menon.rollout.protocols import Sampler
from menon.sync.fingerprint import fingerprint
from menon.sync.pairs import pairs
from menon.sync.protocols import HasWeights, Published


class ByCopy:
    """RuntimeError if, after the copy, the sampler does not hold the policy's weights bit for bit (in its own
    dtype)."""

    def __init__(self, policy: HasWeights, sampler: Sampler) -> None:
        self.policy, self.sampler = policy, sampler

    @torch.no_grad()
    def publish(self, version: int) -> Published:
        holder, both = pairs(self.policy, self.sampler)
        for given, held in both.values():
            held.copy_(given)
        found = fingerprint(holder.weights())
        wanted = fingerprint(self.policy.weights(), like=holder.weights())
        if found != wanted:
            raise RuntimeError(
                f"after the copy the sampler holds other weights ({found}) than the learner ({wanted})"
            )
        holder.version = version
        return Published(version, found)
