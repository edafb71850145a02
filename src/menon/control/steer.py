"""Coefficients of an objective's terms that follow what a run measures."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from menon.batch import Batch, coefficient_column

State = Mapping[str, float]


def steer(batch: Batch, term: str, coefficient: float) -> Batch:
    """The batch with a number that multiplies the coefficient of the term of that name in all updates of the
    step."""
    number = torch.full(
        (batch.num_tokens,), coefficient, dtype=batch.reward.dtype, device=batch.reward.device
    )
    return replace(batch, columns={**batch.columns, coefficient_column(term): number})
