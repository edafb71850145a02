"""Policy and sampler share their tensors, so nothing is copied and no weights can be stale."""

from menon.errors import UserError
from menon.rollout.protocols import Sampler
from menon.sync.fingerprint import fingerprint
from menon.sync.pairs import pairs
from menon.sync.protocols import HasWeights, Published


class ByReference:
    """For weights that are whole, in this process and of one dtype, in a synchronous run."""

    def __init__(self, policy: HasWeights, sampler: Sampler) -> None:
        self.policy, self.sampler = policy, sampler

    def publish(self, version: int) -> Published:
        holder, shared = pairs(self.policy, self.sampler)
        for name, (given, held) in shared.items():
            if (given.data_ptr(), given.dtype, given.device) != (held.data_ptr(), held.dtype, held.device):
                raise UserError(
                    f"the sampler has its own copy of '{name}', which would never learn; "
                    "give it the learner's model, or publish by copy"
                )
        holder.version = version
        return Published(version, fingerprint(holder.weights()))
