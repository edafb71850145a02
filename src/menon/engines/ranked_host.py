"""A `ModelHost` whose models are held in parts by ranks: the controller's end of it.

What a rank gets is plain data: whole units of the batch, about as many tokens as the others. The result is
that of the host in process, up to the order of sums.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from menon.batch import Batch, tokens_of
from menon.engines.rank_parts import batch_parts, deal, job_parts
from menon.engines.rank_workers import RankWorkers
from menon.types import Metric, merge
from menon.update.host import Ask, Job


class RankedHost:
    """`workers` have built their models already. Raises `RankLost` once one of the ranks is gone."""

    def __init__(self, workers: RankWorkers, roles: frozenset[str]) -> None:
        self.workers, self._roles = workers, roles

    @property
    def roles(self) -> frozenset[str]:
        return self._roles

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        rows = deal(batch, "sequence", len(self.workers))
        parts = batch_parts(batch, rows)
        scored = self.workers.call("score", [(part, tuple(asks)) for part in parts])
        columns: dict[str, Tensor] = {ask.name: torch.zeros(0) for ask in asks}
        for own, found in zip(rows, scored, strict=True):
            tokens = tokens_of(batch.offset, own)
            for name, part in found.items():
                if len(columns[name]) != batch.num_tokens:
                    columns[name] = part.new_zeros(batch.num_tokens, *part.shape[1:])
                columns[name][tokens] = part
        return columns

    def update(self, role: str, job: Job) -> dict[str, Metric]:
        parts = job_parts(job, len(self.workers))
        found: list[dict[str, Metric]] = self.workers.call("update", [(role, part) for part in parts])
        return reduce(merge, found, {})

    def gradient(self, role: str, job: Job) -> Iterator[tuple[str, Tensor]]:
        """The gradient of an update that is not made (`update.host.GivesGradient`)."""
        parts = job_parts(job, len(self.workers))
        return self.workers.tensors("gradient", [(role, part) for part in parts])

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The policy's whole tensors, one at a time (`sync.protocols.Gives`)."""
        return self.workers.tensors("tensors", self._same())

    def fingerprint(self, role: str) -> str:
        found: str = self.workers.call("fingerprint", self._same(role))[0]
        return found

    def follow(self, role: str, leader: str, rate: float) -> None:
        self.workers.call("follow", self._same(role, leader, rate))

    def export(self, role: str, folder: Path) -> None:
        self.workers.call("export", self._same(role, folder.absolute()))

    def save(self, folder: Path) -> None:
        self.workers.call("save", self._same(folder.absolute()))

    def load(self, folder: Path) -> None:
        self.workers.call("load", self._same(folder.absolute()))

    def close(self) -> None:
        """Ends the ranks."""
        self.workers.close()

    def _same(self, *given: object) -> list[tuple[object, ...]]:
        return [given] * len(self.workers)
