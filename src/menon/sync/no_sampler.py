"""The channel of a run that writes no text: there is no sampler to update."""

from dataclasses import dataclass

from menon.sync.protocols import Published
from menon.update.host import ModelHost


@dataclass(frozen=True)
class NoSampler:
    """Publishing only computes the policy's fingerprint, for the record."""

    host: ModelHost

    def publish(self, version: int) -> Published:
        return Published(version, self.host.fingerprint("policy"))
