"""The sampler has weights of its own, in its own dtype and on its own device; the learner's are copied into
them."""

from dataclasses import dataclass

import torch

from menon.rollout.protocols import Sampler
from menon.sync.fingerprint import fingerprint
from menon.sync.pairs import pairs
from menon.update.protocols import Learner


@dataclass(frozen=True)
class ByCopy:
    """RuntimeError if, after the copy, the sampler does not hold the learner's weights bit for bit (in its
    own dtype)."""

    @torch.no_grad()
    def publish(self, learner: Learner, sampler: Sampler) -> str:
        holder, both = pairs(learner, sampler)
        for given, held in both.values():
            held.copy_(given)
        found = fingerprint(holder.weights())
        wanted = fingerprint(learner.weights(), like=holder.weights())
        if found != wanted:
            raise RuntimeError(
                f"after the copy the sampler holds other weights ({found}) than the learner ({wanted})"
            )
        holder.version += 1
        return found
