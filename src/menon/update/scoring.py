"""Columns that models fill before the updates of a step."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from menon.batch import Batch, take, tokens_of
from menon.update.host import Ask, ModelHost
from menon.update.protocols import VALUE, VALUE_AFTER, Head, Reduction
from menon.update.terms import MiniBatch


def collision(logits: Tensor, other: Tensor | None) -> Tensor:
    """[n, V] -> [n] sum over v of pi_v^2."""
    return logits.softmax(-1).square().sum(-1)


ANSWERED = "answered"
"""The role of the policy that reads the gold answer (`engines.answered`)."""
ANSWER_PROB, ANSWER_PRIOR = Head("answer_prob"), Head("answer_prior")

ASKS: dict[str, Ask] = {
    "old_logp": Ask("policy", "logp", "old_logp"),
    "ref_logp": Ask("reference", "logp", "ref_logp"),
    "teacher_logp": Ask("teacher", "logp", "teacher_logp"),
    "value": Ask("critic", VALUE),
    "value_after": Ask("critic", VALUE_AFTER),
    "old_entropy": Ask("policy", "entropy", "entropy"),
    "collision": Ask("policy", Reduction("collision", collision)),
    "answer_prob": Ask(ANSWERED, ANSWER_PROB),
    "answer_prior": Ask(ANSWERED, ANSWER_PRIOR),
}
"""Column that parts read -> the model that is asked for it, and the column of the batch that it fills."""


def score(
    batch: Batch, minibatches: Sequence[MiniBatch], by_credit: Collection[str], host: ModelHost
) -> Batch:
    """Fills the columns that the advantage stage (`by_credit`) and the losses read, and no others.

    Sequences are scored in the same passes as in the updates, so that an unchanged model gives the same
    numbers bit for bit. The first update of a step starts from the old policy: losses take the detached new
    log-prob there, and old_logp is scored for the others. If the sampler's log-probs are used as the old
    ones, none are scored.
    """
    bypass = any(minibatch.update.old == "behaviour" for minibatch in minibatches)
    if bypass:
        batch = replace(batch, old_logp=batch.behaviour_logp)
    read = set(by_credit).union(*(minibatch.update.reads for minibatch in minibatches))
    wanted = sorted((read & ASKS.keys()) - ({"old_logp"} if bypass else set()))
    columns: dict[str, Tensor] = {}
    if not minibatches:  # nothing is learned from, and the advantage stage may still read columns
        columns = {ASKS[name].name: torch.full((batch.num_tokens,), torch.nan) for name in wanted}
    for minibatch in minibatches:
        spared = {"old_logp"} - set(by_credit) if minibatch.first else set()
        asks = [ASKS[name] for name in wanted if name not in spared]
        if minibatch.update.model != "policy" or not asks:
            continue
        tokens = tokens_of(batch.offset, minibatch.rows)
        for name, numbers in host.score(take(batch, minibatch.rows), asks).items():
            # A token that was not scored must not look like a number.
            unknown = torch.full((batch.num_tokens,), torch.nan, dtype=numbers.dtype)
            columns.setdefault(name, unknown)[tokens] = numbers
    filled: dict[str, Any] = columns
    return replace(batch, **filled)
