"""A model host without a model: what a run stored of a step answers for the models that the step asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.types import Metric, merge
from menon.update.host import Ask, Job, Ready
from menon.update.objective import Micro, correct, loss_of
from menon.update.protocols import need_column

PLACE = "replay/place"
"""The column of a batch that says which token of the stored step each of its tokens is."""
VALUES = "value"
"""The column of a forward pass that a critic's terms have a gradient through."""
GIVEN_BY = {
    "ref_logp": "a reference",
    "teacher_logp": "a teacher",
    "value": "a critic",
    "value_after": "a critic",
    "old_logp": "the policy before the step",
    "entropy": "the policy before the step",
    "collision": "the policy before the step",
    "answer_prob": "the policy, read beside the gold answer",
    "answer_prior": "the policy, read beside the gold answer",
}
"""Column that models fill -> the model."""


class NotStored(UserError):
    """A column that a replay reads and the run did not store: it needs a model."""


@dataclass(frozen=True)
class Logps:
    """[N] log-probs of the policy, NaN where they are not known."""

    start: Tensor
    """Before the updates of the step."""
    learned: Tensor
    """When the run learned from the token."""
    entropy: Tensor
    """[N] entropies of the policy when the run learned from the token."""
    update: Tensor
    """[N] int64: number of the policy's update in which that was, from 0; -1: in none, or not recorded."""


@dataclass(frozen=True)
class TermReplay:
    """What one term of an objective did to the tokens of a step, [N] each."""

    model: str
    """The role that learns from it."""
    loss: str
    """The kind of its loss."""
    weight: Tensor
    """The token's share in the update's loss, coefficient and corrections included."""
    selected: Tensor
    """bool: the term counts the token."""
    push: Tensor
    """-d loss / d log-prob: above 0 where the term makes the token likelier. NaN: not known without the
    model."""
    through: tuple[str, ...] = ("logp",)
    """The columns of a forward pass that its loss has a gradient through; others than "logp" need the
    model."""


@dataclass
class StoredHost:
    """Answers for the models from stored columns, and keeps what each update would have done in place of an
    optimiser step.

    An update is replayed at the log-probs at which the run learned from its tokens, if one update of the run
    learned from all of them; else at those before the step. NotStored names a column that the run lacks.
    """

    stored: Batch
    logps: Logps
    terms: dict[str, TermReplay] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)
    """Sentences about what could not be replayed without the model, in order."""
    moved: int = 0
    """Updates of the policy replayed at the log-probs that it had in the run by then."""
    updates: int = 0
    """Updates of the policy."""
    unknown: bool = False
    """The update that is being prepared asked for something that is not known."""

    @property
    def roles(self) -> frozenset[str]:
        return frozenset({"policy", "reference", "critic", "teacher"})

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        """Stored columns of these tokens. What belongs to the policy before a later update and is not known
        is replaced by what it was before the step, and the update counts as not replayed."""
        place = batch.columns.get(PLACE)
        if place is None:
            raise NotStored(
                "the objective scores text that is not in the step, and that needs the model; choose a loss "
                "of the step's own answers"
            )
        return {ask.name: self.column(ask, batch, place) for ask in asks}

    def column(self, ask: Ask, batch: Batch, place: Tensor) -> Tensor:
        """[n] the stored numbers of one ask."""
        if ask.role == "policy" and not ask.column and ask.need in ("logp", "entropy"):
            return self.logp(batch) if ask.need == "logp" else self.entropy(batch)
        found = self.logps.start if ask.name == "old_logp" else getattr(self.stored, ask.name, None)
        found = None if found is None else found[place]
        if found is None or bool(found[batch.trained].isnan().any()):
            raise NotStored(
                f"the step has no '{ask.name}' of all tokens for which it is read: "
                f"{GIVEN_BY.get(ask.name, 'a model')} gives it, and this run stored none; replay parts that "
                "do without"
            )
        return found

    def moved_by(self, batch: Batch) -> int:
        """The update of the run that learned from all of these tokens; -1: there is none, or none is
        recorded."""
        updates = self.logps.update[batch.columns[PLACE]][batch.trained].unique()
        return int(updates) if len(updates) == 1 else -1

    def logp(self, batch: Batch) -> Tensor:
        """[n] log-probs of the policy before the update of these tokens."""
        known = self.logps.learned if self.moved_by(batch) >= 0 else self.logps.start
        logp = known[batch.columns[PLACE]]
        if bool(logp[batch.trained].isnan().any()):
            self.lacks("'old_logp' of some tokens is not stored")
        return logp

    def entropy(self, batch: Batch) -> Tensor:
        """[n] entropies of the policy before the update of these tokens; where those are not known, before
        the step."""
        place, update = batch.columns[PLACE], self.moved_by(batch)
        if update > 0 and not bool(self.logps.entropy[place][batch.trained].isnan().any()):
            return self.logps.entropy[place]
        if self.stored.entropy is None:
            raise NotStored("the step has no 'entropy'; the run's sampler gave none")
        if update > 0:
            self.lacks(
                f"update {update + 1} reads 'entropy' of the policy before it, which this run did not record"
            )
        return self.stored.entropy[place]

    def lacks(self, what: str) -> None:
        self.unknown = True
        self.missing[f"{what}; only the model gives it"] = None

    def update(self, role: str, job: Job) -> dict[str, Metric]:
        """Keeps what the update would have done to each token; returns the metrics of its terms."""
        metrics: dict[str, Metric] = {}
        now = {"logp": self.logp(job.batch)} if role == "policy" else {}
        if role == "policy":
            self.updates += 1
            self.moved += self.moved_by(job.batch) >= 0
        for name, ready in job.terms.items():
            push, found = self.push(name, ready, job, now)
            merge(metrics, found)
            self.keep(role, name, job, ready, now, push)
        self.unknown = False
        return metrics

    def push(
        self, name: str, ready: Ready, job: Job, now: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Metric]]:
        """[n] -d loss / d log-prob of a term, NaN where it is not known, and the metrics of the term."""
        unknown = torch.where(job.batch.trained, torch.nan, torch.zeros_like(ready.weight))
        if not now:  # a critic's term pushes values
            return torch.zeros_like(ready.weight), {}
        through = [need_column(need) for need in ready.term.loss.needs]
        if set(through) == {VALUES}:
            self.missing[
                f"the term {name} pushes values and no log-prob; through the weights that value head and "
                "policy share it moves the policy too, which only the model shows"
            ] = None
            return torch.zeros_like(ready.weight), {}
        if set(through) - {"logp"}:
            columns = ", ".join(through)
            self.missing[
                f"the term {name} learns through {columns} and not through the log-probs alone, so its push "
                "needs the model"
            ] = None
            return unknown, {}
        if self.unknown:
            return unknown, {}
        logp = now["logp"].clone().requires_grad_()
        with torch.enable_grad():
            loss, metrics = loss_of({"logp": logp}, Micro(job.batch, {name: ready}, job.first))
        if not loss.requires_grad:
            return torch.zeros_like(ready.weight), metrics
        (slope,) = torch.autograd.grad(loss, [logp], allow_unused=True)
        return torch.zeros_like(logp) if slope is None else -slope, metrics

    def keep(
        self, role: str, name: str, job: Job, ready: Ready, now: Mapping[str, Tensor], push: Tensor
    ) -> None:
        """Writes the numbers of a term to the places of its tokens in the step."""
        view = replace(job.batch, columns=ready.columns)
        select = ready.term.select
        selected = view.trained if select is None else select(view) & view.trained
        weight = correct(ready, now, view)[0] if now else ready.weight
        place, key = job.batch.columns[PLACE], name if role == "policy" else f"{role}.{name}"
        if key not in self.terms:
            zero = torch.zeros(self.stored.num_tokens)
            kind = str(getattr(ready.term.loss, "kind", "") or type(ready.term.loss).__name__)
            through = tuple(need_column(need) for need in ready.term.loss.needs)
            self.terms[key] = TermReplay(role, kind, zero.clone(), zero.bool(), zero.clone(), through)
        found = self.terms[key]
        found.weight[place] = weight.detach().float()
        found.selected[place] = selected
        found.push[place] = push.detach().float()

    def save(self, folder: Path) -> None:
        raise NotImplementedError("a replay has no weights")

    load = save

    def export(self, role: str, folder: Path) -> None:
        self.save(folder)

    def fingerprint(self, role: str) -> str:
        return ""

    def follow(self, role: str, leader: str, rate: float) -> None:
        """A replay moves no weights."""
