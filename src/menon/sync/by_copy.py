"""The sampler has its own weights, in its own dtype and on its own device; the policy's weights are copied
into them."""

import torch

from menon.rollout.protocols import Sampler
from menon.sync.fingerprint import content, fingerprint, fingerprint_of
from menon.sync.pairs import check_alike, check_shape, holder_of
from menon.sync.protocols import Gives, Published


class ByCopy:
    """RuntimeError if, after the copy, the sampler does not hold the policy's weights bit for bit (in its own
    dtype)."""

    def __init__(self, policy: Gives, sampler: Sampler) -> None:
        self.policy, self.sampler = policy, sampler

    @torch.no_grad()
    def publish(self, version: int) -> Published:
        holder = holder_of(self.sampler)
        held, given = holder.weights(), {}
        for name, weight in self.policy.tensors():
            check_alike({name}, held.keys() & {name})
            check_shape(name, weight, held[name])
            held[name].copy_(weight)
            given[name] = content(weight.to(held[name].dtype))
        check_alike(given.keys(), held.keys())
        wanted, found = fingerprint_of(given), fingerprint(held)
        if found != wanted:
            raise RuntimeError(
                f"after the copy the sampler holds other weights ({found}) than the learner ({wanted})"
            )
        holder.version = version
        return Published(version, found)
