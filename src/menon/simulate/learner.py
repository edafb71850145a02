"""A learner and a weight channel that pass time and do nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from menon.batch import Batch
from menon.simulate.samplers import SimulatedSampler
from menon.simulate.world import World
from menon.sync.protocols import Published
from menon.types import Metric
from menon.update.host import Ask, Job


@dataclass(frozen=True)
class SimulatedHost:
    """An update takes `update` seconds and `each` seconds for every token, prompts included."""

    world: World
    update_seconds: float
    each: float
    roles: frozenset[str] = field(default=frozenset({"policy"}))

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        return {}

    def update(self, role: str, job: Job) -> dict[str, Metric]:
        took = self.update_seconds + self.each * int(job.batch.token.sum())
        self.world.now += took
        self.world.learning += took
        return {}

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...

    def export(self, role: str, folder: Path) -> None: ...

    def fingerprint(self, role: str) -> str:
        return ""

    def follow(self, role: str, leader: str, rate: float) -> None: ...


@dataclass(frozen=True)
class SimulatedChannel:
    world: World
    sampler: SimulatedSampler
    seconds: float

    def publish(self, version: int) -> Published:
        self.world.now += self.seconds
        self.sampler.version = version
        return Published(version, "")
