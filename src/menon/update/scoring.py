"""Columns that models fill before the updates of a step."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch

from menon.batch import Batch, take, tokens_of
from menon.errors import UserError
from menon.update.objective import Part
from menon.update.protocols import Models, Need

SOURCES: dict[str, tuple[str, Need]] = {
    "old_logp": ("policy", "logp"),
    "ref_logp": ("reference", "logp"),
    "value": ("critic", "value"),
    "old_entropy": ("policy", "entropy"),
}
"""Column -> the model that fills it, and what that model is asked."""


def score(batch: Batch, parts: list[Part], by_credit: Collection[str], models: Models) -> Batch:
    """Fills the columns that the advantage stage (`by_credit`) and the losses read, and no others.

    Scored as the updates are cut, so that a model which has not moved gives its own numbers bit for bit. The first update of
    a step starts from the old policy: losses take the detached new log-prob there, and old_logp is scored for the others.
    """
    by_loss = {column for part in parts for column in part.update.reads}
    for column in sorted((set(by_credit) | by_loss) & SOURCES.keys()):
        model, need = SOURCES[column]
        if model not in models:
            raise UserError(f"'{column}' is needed, and this run has no {model} model; set {model} in the configuration")
        mine = [part for part in parts if part.update.model == "policy"]
        if column == "old_logp" and column not in by_credit:
            mine = [part for part in mine if not part.first]
            if not mine:
                continue
        filled = torch.full((batch.num_tokens,), torch.nan)  # a token that nobody scored must not look like a number
        for part in mine:
            scored = models[model].score(take(batch, part.rows), (need,), models)[str(need)]
            filled = filled.to(scored.dtype)
            filled[tokens_of(batch.offset, part.rows)] = scored
        filling: dict[str, Any] = {"entropy" if column == "old_entropy" else column: filled}
        batch = replace(batch, **filling)
    return batch
