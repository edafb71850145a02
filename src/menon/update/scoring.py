"""Columns that models fill before the updates of a step."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from menon.batch import Batch, take, tokens_of
from menon.errors import UserError
from menon.update.objective import MiniBatch
from menon.update.protocols import Models, Need, Reduction, name_of


def collision(logits: Tensor, other: Tensor | None) -> Tensor:
    """[n, V] -> [n] sum over v of pi_v^2."""
    return logits.softmax(-1).square().sum(-1)


SOURCES: dict[str, tuple[str, Need]] = {
    "old_logp": ("policy", "logp"),
    "ref_logp": ("reference", "logp"),
    "value": ("critic", "value"),
    "value_after": ("critic", "value_after"),
    "old_entropy": ("policy", "entropy"),
    "collision": ("policy", Reduction("collision", collision)),
}
"""Column -> the model that fills it, and what that model is asked."""


def score(batch: Batch, parts: list[MiniBatch], by_credit: Collection[str], models: Models) -> Batch:
    """Fills the columns that the advantage stage (`by_credit`) and the losses read, and no others.

    Scored as the updates are cut, so that a model which has not moved gives its own numbers bit for bit. The
    first update of a step starts from the old policy: losses take the detached new log-prob there, and
    old_logp is scored for the others. Where the sampler's log-probs are taken for the old ones, none is
    scored.
    """
    bypass = any(part.update.old == "behaviour" for part in parts)
    if bypass:
        batch = replace(batch, old_logp=batch.behaviour_logp)
    wanted = (set(by_credit) | {column for part in parts for column in part.update.reads}) & SOURCES.keys()
    wanted -= {"old_logp"} if bypass else set()
    for column in sorted(wanted):
        if (role := SOURCES[column][0]) not in models:
            raise UserError(
                f"'{column}' is needed, and this run has no {role} model; set {role} in the configuration"
            )
    filled: dict[str, Tensor] = {}
    for model in {
        id(models[SOURCES[column][0]]): models[SOURCES[column][0]] for column in sorted(wanted)
    }.values():
        own = [column for column in sorted(wanted) if models[SOURCES[column][0]] is model]
        for part in parts:
            spared = {"old_logp"} - set(by_credit) if part.first else set()
            asked = {SOURCES[column][1]: column for column in own if column not in spared}
            if part.update.model != "policy" or not asked:
                continue
            tokens = tokens_of(batch.offset, part.rows)
            scored = model.score(take(batch, part.rows), tuple(asked), models)
            for need, name in asked.items():
                numbers = scored[name_of(need)]
                # A token that nobody scored must not look like a number.
                nowhere = torch.full((batch.num_tokens,), torch.nan, dtype=numbers.dtype)
                filled.setdefault(name, nowhere)[tokens] = numbers
    columns: dict[str, Any] = {
        "entropy" if name == "old_entropy" else name: column for name, column in filled.items()
    }
    return replace(batch, **columns)
