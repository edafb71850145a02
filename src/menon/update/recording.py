"""One update with a record of what each of its terms did to each token (`record=full`)."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from menon.types import Metric, UpdateRecord
from menon.update.host import Ask, Job, ModelHost
from menon.update.objective import correct
from menon.update.terms import MiniBatch

LOGP = "logp"


def recorded_update(
    number: int, minibatch: MiniBatch, job: Job, host: ModelHost
) -> tuple[dict[str, Metric], list[UpdateRecord]]:
    """`host.update`, and one record for each term. A policy is scored before and after it, which costs two
    more passes over the mini-batch and changes nothing else; a critic has no log-probs."""
    role = minibatch.update.model
    asks = [Ask(role, "logp"), Ask(role, "entropy")] if role == "policy" else []
    before = host.score(job.batch, asks) if asks else {}
    metrics = host.update(role, job)
    after = host.score(job.batch, asks[:1]) if asks else {}
    return metrics, [
        UpdateRecord(
            update=number,
            model=role,
            term=name,
            sequence=minibatch.rows.numpy(),
            offset=job.batch.offset.numpy(),
            weight=_weight(job, name, before).float().numpy(),
            logp_before=_column(before, LOGP),
            logp_after=_column(after, LOGP),
            entropy_before=_column(before, "entropy"),
        )
        for name in job.terms
    ]


def _weight(job: Job, name: str, before: Mapping[str, Tensor]) -> Tensor:
    """[n] weights of a term's tokens, after its corrections."""
    ready = job.terms[name]
    if LOGP not in before:
        return ready.weight.detach()
    return correct(ready, before, replace(job.batch, columns=ready.columns))[0].detach()


def _column(columns: Mapping[str, Tensor], name: str) -> np.ndarray | None:
    return columns[name].float().numpy() if name in columns else None
