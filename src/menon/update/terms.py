"""An objective is a tuple of terms; an update's loss is the plain sum over terms and tokens of coef * loss *
weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor

from menon.batch import STEERS, Batch, unit_of
from menon.streams import stream
from menon.types import Mean, Metric, Unit
from menon.update.protocols import Aggregation, Correction, Loss, Select

LossKind = TypeVar("LossKind", covariant=True)
AggregationKind = TypeVar("AggregationKind", covariant=True)
SelectKind = TypeVar("SelectKind", covariant=True)
CorrectionKind = TypeVar("CorrectionKind", covariant=True)


@dataclass(frozen=True)
class Term(Generic[LossKind, AggregationKind, SelectKind, CorrectionKind]):
    """One summand of an objective. (It is generic so that a configuration can say which losses, aggregations,
    ... it reads.)"""

    loss: LossKind
    """The loss: one number per token, or per answer."""
    share: AggregationKind | None = None
    """How much each token weighs in the update's loss. null: all tokens weigh the same; with a loss that
    gives one number per answer or per pair, all answers or all pairs."""
    select: SelectKind | None = None
    """The tokens that count; null: every trained token."""
    coef: float = 1.0
    """Factor of the whole term."""
    correction: tuple[CorrectionKind, ...] = ()
    """Corrections for text that another policy wrote. Their weights are multiplied."""


AnyTerm = Term[Loss, Aggregation, Select, Correction]


def pieces(term: AnyTerm) -> tuple[Loss | Select | Correction, ...]:
    """The parts of a term that may read columns or prepare some."""
    return (term.loss, *([term.select] if term.select is not None else []), *term.correction)


@dataclass(frozen=True)
class Update:
    """Which model learns from which terms, in how many optimiser steps per step of the run."""

    terms: Mapping[str, AnyTerm]
    model: str = "policy"
    count: int = 1
    old: Literal["trainer", "behaviour"] = "trainer"
    """Whose log-probs are the denominator of ratios: the trainer's before the step, or the sampler's (then
    nothing is scored)."""
    after: int = 0
    """The number of first steps of the run without this update, in which a policy waits for its critic."""

    @property
    def unit(self) -> Unit:
        """The coarsest unit among the terms: of a loss, or of an aggregation that counts pairs."""
        order: tuple[Unit, ...] = ("token", "sequence", "pair", "group")
        units: list[Unit] = [term.loss.unit for term in self.terms.values()]
        units += [getattr(term.share, "counts", "token") for term in self.terms.values()]
        return max(units, key=order.index)

    @property
    def reads(self) -> set[str]:
        return {column for term in self.terms.values() for part in pieces(term) for column in part.reads}


@dataclass(frozen=True)
class MiniBatch:
    """The sequences of one optimiser step."""

    update: Update
    rows: Tensor
    """[K] sequences of the step's batch."""
    first: bool
    """The model has not changed since the batch was scored: the old log-probs are the detached new ones and
    need not be scored."""


def split(batch: Batch, update: Update, seed: int, step: int) -> list[MiniBatch]:
    """Divides the units of a batch into updates of nearly equal size, shuffled by a named random stream.  A
    single update keeps the order of the batch. With fewer units than updates there are as many updates as
    units. Sequences that are not learned from are in no update.
    """
    learned = torch.arange(batch.num_sequences) if batch.learn is None else batch.learn.nonzero()[:, 0]
    unit = unit_of(batch, update.unit)[learned]
    names, unit = torch.unique(unit, return_inverse=True)
    count = min(update.count, len(names))
    if count <= 1:
        return [MiniBatch(update, learned, True)] if len(learned) else []
    order = torch.from_numpy(stream(seed, "split", update.model, step).permutation(len(names)))
    rows = [learned[torch.isin(unit, units)] for units in order.tensor_split(count)]
    return [MiniBatch(update, row, first=i == 0) for i, row in enumerate(rows)]


def steered(batch: Batch) -> dict[str, Metric]:
    """The coefficients that parts steer, as metrics."""
    columns = {name: column for name, column in batch.columns.items() if name.startswith(STEERS)}
    return {name: Mean(float(column[0])) for name, column in columns.items() if len(column)}
