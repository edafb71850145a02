"""What each rank gets of a batch: whole units, and about as many tokens as the others."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from menon.batch import Batch, take, tokens_of, unit_of
from menon.types import Unit
from menon.update.host import Job
from menon.update.objective import terms_on


@dataclass(frozen=True)
class JobPart:
    """A rank's part of an update."""

    job: Job
    """Perhaps without any sequence."""
    idle: Job | None
    """The shortest unit of the update with all weights 0: what a rank computes while others still have work,
    so that all make the same number of passes. None where the update is empty."""


@dataclass(frozen=True)
class BatchPart:
    """A rank's part of a batch to score."""

    batch: Batch
    idle: Batch | None
    """The shortest sequence: see `JobPart.idle`."""


def deal(batch: Batch, unit: Unit, ranks: int) -> list[Tensor]:
    """The sequences of each rank, in the batch's order. Units are dealt from the longest to the shortest,
    each to the rank that has the fewest tokens so far. Some ranks get nothing where there are fewer units.
    """
    names, index = torch.unique(unit_of(batch, unit), return_inverse=True)
    tokens = torch.zeros(len(names), dtype=torch.int64).index_add(0, index, batch.lengths)
    loads = [(0, rank) for rank in range(ranks)]
    owner = torch.zeros(len(names), dtype=torch.int64)
    for number in torch.argsort(tokens, descending=True, stable=True).tolist():
        load, rank = heapq.heappop(loads)
        owner[number] = rank
        heapq.heappush(loads, (load + int(tokens[number]), rank))
    return [(owner[index] == rank).nonzero()[:, 0] for rank in range(ranks)]


def shortest(batch: Batch, unit: Unit) -> Tensor:
    """The sequences of the shortest unit; none in an empty batch."""
    if not batch.num_sequences:
        return torch.zeros(0, dtype=torch.int64)
    names, index = torch.unique(unit_of(batch, unit), return_inverse=True)
    tokens = torch.zeros(len(names), dtype=torch.int64).index_add(0, index, batch.lengths)
    return (index == tokens.argmin()).nonzero()[:, 0]


def job_of(job: Job, rows: Tensor) -> Job:
    """The part of an update that these sequences are."""
    return replace(job, batch=take(job.batch, rows), terms=terms_on(job, tokens_of(job.batch.offset, rows)))


def unweighed(job: Job) -> Job:
    terms = {name: replace(ready, weight=torch.zeros_like(ready.weight)) for name, ready in job.terms.items()}
    return replace(job, terms=terms)


def job_parts(job: Job, ranks: int) -> list[JobPart]:
    spare = shortest(job.batch, job.unit)
    idle = unweighed(job_of(job, spare)) if len(spare) else None
    return [JobPart(job_of(job, rows), idle) for rows in deal(job.batch, job.unit, ranks)]


def batch_parts(batch: Batch, rows: Sequence[Tensor]) -> list[BatchPart]:
    spare = shortest(batch, "sequence")
    idle = take(batch, spare) if len(spare) else None
    return [BatchPart(take(batch, own), idle) for own in rows]
