"""Updates on a batch that is there, by the package's own path from a batch to a step of the optimiser."""

from collections.abc import Iterator, Mapping
from typing import Any

from menon.batch import Batch
from menon.engines.in_process import InProcessHost
from menon.types import Metric, merge
from menon.update.objective import Micro, cut, prepare
from menon.update.terms import Update, split


def learn(
    batch: Batch, update: Update, models: Mapping[str, Any], seed: int = 0, step: int = 0
) -> dict[str, Metric]:
    """All updates of one step; the columns that the terms read are there already."""
    host, metrics = InProcessHost(models), {}
    for part in split(batch, update, seed, step):
        merge(metrics, host.update(update.model, prepare(part, batch, host)))
    return metrics


def micros(learner: Any, update: Update, batch: Batch, models: Mapping[str, Any]) -> Iterator[Micro]:
    """The forward passes of the first update of a step."""
    part = split(batch, update, 0, 0)[0]
    job = prepare(part, batch, InProcessHost(models))
    return cut(job, learner.tokens_per_forward, learner.workers, learner.by_prompt)
