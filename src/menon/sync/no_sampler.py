"""A run that writes no text: its weights go nowhere."""

from dataclasses import dataclass

from menon.sync.protocols import Published
from menon.update.host import ModelHost


@dataclass(frozen=True)
class NoSampler:
    """The policy's own fingerprint, for the record."""

    host: ModelHost

    def publish(self, version: int) -> Published:
        return Published(version, self.host.fingerprint("policy"))
