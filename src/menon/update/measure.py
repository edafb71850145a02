"""What the losses of an update measure on text that is not learned from."""

from dataclasses import replace

import torch

from menon.batch import Batch
from menon.types import Metric, merge
from menon.update.host import Ask, ModelHost
from menon.update.objective import Micro, prepare
from menon.update.scoring import score
from menon.update.terms import MiniBatch, Update


def measure(batch: Batch, update: Update, host: ModelHost) -> dict[str, float]:
    """The metrics of the update's losses on a batch, as the update would give them, without an update."""
    minibatch = MiniBatch(update, torch.arange(batch.num_sequences), first=True)
    job = prepare(minibatch, score(batch, [minibatch], (), host), host)
    now = host.score(job.batch, [Ask(update.model, need) for need in Micro(job.batch, job.terms).needs])
    found: dict[str, Metric] = {}
    for ready in job.terms.values():
        view = replace(job.batch, columns=ready.columns)
        merge(found, ready.term.loss.metrics(now, view))
    return {name: float(metric) for name, metric in found.items()}
