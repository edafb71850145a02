"""Learner and samplers take turns on one machine: each gives its memory back before the other's turn.

The samplers' turn begins when a stream is opened, the learner's when its host is next used. Weights,
optimiser states and other models of the host wait in a file (on a GPU in the memory of the host) while
samplers write; the samplers' caches of finished streams are freed before the learner learns. Numbers do not
change.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from menon.batch import Batch
from menon.engines.in_process import InProcessHost
from menon.engines.put_aside import PutAside, tensors_within
from menon.engines.remote_sampler import RemoteSampler
from menon.types import Metric
from menon.update.host import Ask, Job


class TakesTurns:
    """The `ModelHost` of models in this process that is put aside while the sampler writes."""

    def __init__(self, host: InProcessHost, sampler: RemoteSampler) -> None:
        self.host, self.sampler = host, sampler
        self.aside: PutAside | None = None
        sampler.before_writing = self.offload

    def offload(self) -> None:
        """The samplers' turn begins."""
        if self.aside is None:
            self.aside = PutAside(self._tensors())

    def bring_back(self) -> InProcessHost:
        """The learner's turn begins; its host."""
        if self.aside is not None:
            self.sampler.free()
            self.aside.bring_back()
            self.aside = None
        return self.host

    def _tensors(self) -> Iterator[Tensor]:
        for model in self.host.models.values():
            yield from model.weights().values()
        for learner in self.host.roster.learners().values():
            yield from tensors_within(learner.state())

    @property
    def roles(self) -> frozenset[str]:
        return self.host.roles

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        return self.bring_back().score(batch, asks)

    def update(self, role: str, job: Job) -> dict[str, Metric]:
        return self.bring_back().update(role, job)

    def gradient(self, role: str, job: Job) -> Iterator[tuple[str, Tensor]]:
        return self.bring_back().gradient(role, job)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        return self.bring_back().tensors()

    def save(self, folder: Path) -> None:
        self.bring_back().save(folder)

    def load(self, folder: Path) -> None:
        self.bring_back().load(folder)

    def export(self, role: str, folder: Path) -> None:
        self.bring_back().export(role, folder)

    def fingerprint(self, role: str) -> str:
        return self.bring_back().fingerprint(role)

    def follow(self, role: str, leader: str, rate: float) -> None:
        self.bring_back().follow(role, leader, rate)
