"""The models of a run in one of its ranks: a host in parts, of which the other ranks hold the rest.

Every method is called on all ranks in the same order, with this rank's part of the work; what one exchanges
with the others inside it, all do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from menon.engines.fsdp2 import Sharded, ShardedLearner, own_part, put, whole
from menon.engines.in_process import of_role
from menon.engines.protocols import Models
from menon.engines.rank_group import RankGroup
from menon.engines.rank_parts import BatchPart, JobPart
from menon.engines.roster import Roster
from menon.engines.stored_models import save_parts, stored_in
from menon.errors import UserError
from menon.sync.fingerprint import content, fingerprint_of
from menon.sync.pairs import model_tensors
from menon.types import Metric, merge
from menon.update.host import Ask
from menon.update.objective import cut, forward_rows
from menon.update.protocols import need_column

Export = Callable[[Path, bool], None]
"""Writes a model as a Hugging Face folder; all ranks call it, and the one for which it is True writes."""


class RankHost:
    """One rank's part of a host. Every model of it is in parts."""

    def __init__(self, group: RankGroup, models: Models, exports: Mapping[str, Export]) -> None:
        self.group, self.exports = group, exports
        self.roster = PartRoster(models)

    def score(self, part: BatchPart, asks: Sequence[Ask]) -> dict[str, Tensor]:
        """The columns of this rank's sequences; {} if it has none."""
        columns: dict[str, Tensor] = {}
        for mine in self.roster.by_model(asks):
            scorer = self._sharded(mine[0].role)
            needs = [ask.need for ask in mine]
            own = len(forward_rows(part.batch, "sequence", scorer.tokens_per_forward))
            more = self.group.most(own) - own  # asked before the first pass, which the others exchange in
            if own:
                scored = scorer.score(part.batch, needs, self.roster.models)
                columns |= {ask.name: scored[need_column(ask.need)] for ask in mine}
            for _ in range(more):
                assert part.idle is not None
                scorer.score(part.idle, needs, self.roster.models)
        self._release()
        return columns

    def update(self, role: str, part: JobPart) -> dict[str, Metric]:
        """The metrics of this rank's passes, and in the first rank those of the optimiser."""
        metrics = self._accumulate(role, part)
        own = self.roster.learner(role).step()
        if self.group.rank == 0:
            merge(metrics, of_role(role, own))
        return {name: on_host(metric) for name, metric in metrics.items()}

    def _accumulate(self, role: str, part: JobPart) -> dict[str, Metric]:
        """Adds up the gradient; ranks that are done early pass over text without weight until all are."""
        learner, models = self._learner(role), self.roster.models
        passes = list(cut(part.job, learner.tokens_per_forward))
        more = self.group.most(len(passes)) - len(passes)
        metrics = learner.accumulate(passes, models)
        if more:
            assert part.idle is not None
            learner.accumulate(list(cut(part.idle, learner.tokens_per_forward)) * more, models)
        self._release()
        return metrics

    def gradient(self, role: str, part: JobPart) -> Iterator[tuple[str, Tensor]]:
        learner = self._learner(role)
        self._accumulate(role, part)
        return iter(learner.take_gradient().items())

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The policy's weights, in parts; those that an adapter makes, if it has one, whole."""
        policy = self._sharded("policy")
        if policy.adapted:
            return policy.merged(whole)
        return model_tensors(policy.weights())

    def fingerprint(self, role: str) -> str:
        model = self._sharded(role)
        given = model.merged(whole) if model.adapted else model.weights().items()
        return fingerprint_of({name: content(whole(weight)) for name, weight in given})

    def follow(self, role: str, leader: str, rate: float) -> None:
        self.roster.follow(role, leader, rate)

    def export(self, role: str, folder: Path) -> None:
        if role not in self.exports:
            raise UserError(f"the {role} of this run cannot be written as a Hugging Face folder")
        self.exports[role](folder, self.group.rank == 0)

    def save(self, folder: Path) -> None:
        if "policy" in self.exports:
            self.export("policy", folder)
        kept = {role: model.weights() for role, model in self.roster.kept().items()}
        save_parts(folder, kept, self.roster.learners(), self.group.rank == 0)

    def load(self, folder: Path) -> None:
        """Also what another number of ranks has written, or the host in process."""
        self.roster.take(stored_in(folder, self.roster.models))

    def _sharded(self, role: str) -> Sharded:
        model = self.roster.model(role)
        if not isinstance(model, Sharded):
            raise UserError(f"the {role} of this run cannot be held in parts; set ranks=1")
        return model

    def _learner(self, role: str) -> ShardedLearner:
        learner = self.roster.learner(role)
        if not isinstance(learner, ShardedLearner):
            raise UserError(f"the {role} of this run cannot learn in parts; set ranks=1")
        return learner

    def _release(self) -> None:
        for model in self.roster.models.values():
            if isinstance(model, Sharded):
                model.release()


class PartRoster(Roster):
    """Models in parts, which are all cut alike: parts follow parts."""

    @torch.no_grad()
    def follow(self, role: str, leader: str, rate: float) -> None:
        ahead = self.model(leader).weights()
        for name, weight in self.model(role).weights().items():
            own, other = own_part(weight), own_part(ahead[name])
            if rate == 1:
                own.copy_(other)
            else:
                own.lerp_(other.to(own), rate)
        self.followers.add(role)

    def put(self, weight: Tensor, given: Tensor) -> None:
        put(weight, given)


def on_host(metric: Metric) -> Metric:
    """The metric without tensors of a GPU, and without gradient."""
    numbers = {field.name: getattr(metric, field.name) for field in fields(metric)}
    here = {name: n.detach().cpu() if isinstance(n, Tensor) else n for name, n in numbers.items()}
    kind: Any = type(metric)
    made: Metric = kind(**here)
    return made
