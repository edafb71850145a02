"""AReaL's policy losses, with the filters and weights of its decoupled PPO."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from golden.adapters.losses import bound_of, ppo_of, sapo_of
from golden.adapters.tools import (
    LARGEST,
    NO_BOUND,
    batch_with,
    by_token,
    clip_of,
    compare_loss,
    factor,
    weighed,
)
from golden.records import Record
from menon.correction import CorrectionPart
from menon.correction.importance import Importance
from menon.correction.reject import Reject
from menon.loss import GSPO
from menon.loss.aggregation import SequenceMean, TokenMean
from menon.update.terms import Term
from rows import rows_of


def decoupled(record: Record) -> None:
    """`proximal` is our old policy. Without a filter nothing is weighed, whoever sampled. Rejected tokens
    stay in the denominator."""
    filters = record.settings.get("rejection_sampling")
    sequence = record.settings.get("importance_sampling_level", "token") == "sequence"
    batch = batch_with(record, old_logp="proximal_logprobs")
    if not sequence and (filters is None or filters.get("metric", "ratio") != "kl_k3"):
        correction = () if filters is None else parts_of(record, filters)
        term = Term(ppo_of(record), TokenMean(), correction=correction)
        compare_loss(record, (1.0, term), batch=batch)
        return
    weight = np.ones(record.mask.shape) if filters is None else weight_of(record, filters)
    if not sequence:
        compare_loss(
            record, (1.0, Term(ppo_of(record), TokenMean())), batch=weighed_rows(record, batch, weight)
        )
        return
    by_sequence(record, weight)


def by_sequence(record: Record, weight: np.ndarray) -> None:
    """The ratio and the one advantage of a row are means over the tokens that were kept; the loss is a sum
    over those tokens, divided by all tokens of the batch."""
    kept = record.masked(record.mask * (weight > 0))
    size = np.maximum(kept.mask.sum(1, keepdims=True), 1)
    mean = (record.inputs["advantages"] * kept.mask).sum(1, keepdims=True) / size
    # GSPO's share is one row's; a token mean counts a row by its tokens.
    advantage = by_token(kept, mean) * weight * size
    batch = batch_with(kept, old_logp="proximal_logprobs", advantage=advantage)
    part = GSPO(*clip_of(record), limit=LARGEST, bound=bound_of(record))
    scale = float(kept.filled.sum()) / max(int(record.mask.sum()), 1)
    compare_loss(kept, (scale, Term(part, SequenceMean())), batch=batch)


def weighed_rows(record: Record, batch: Any, weight: np.ndarray) -> Any:
    return replace(batch, advantage=weighed(batch, 1.0).advantage * column(record, weight))


def column(record: Record, rows: np.ndarray) -> torch.Tensor:
    """[S, T] -> [N]."""
    found = record.batch(value=rows).value
    assert found is not None
    return found


def weight_of(record: Record, filters: Any) -> np.ndarray:
    """[S, T] the weight of each token: 0 for what a filter rejects."""
    batch = batch_with(record, old_logp="proximal_logprobs")
    assert batch.old_logp is not None
    weight = factor(batch, batch.old_logp, *parts_of(record, filters))
    if filters["metric"] == "kl_k3":
        # Its k3 takes the inverse ratio: ours of the sampler from the old policy.
        turned = replace(batch, old_logp=batch.behaviour_logp, behaviour_logp=batch.old_logp)
        over: Any = "token" if filters["level"] == "token" else filters["agg"]
        keep = factor(
            turned, turned.need("old_logp", None), Reject(filters["upper"], divergence="k3", over=over)
        )
        weight = weight * keep
    return rows_of(batch, weight, record.width).numpy()


def parts_of(record: Record, filters: Any) -> tuple[CorrectionPart, ...]:
    """Filters by a divergence keep the raw weights of the tokens they keep, those of whole sequences by the
    ratio their geometric mean. kl_k1 has bounds on the log-ratio. Of kl_k3 only the raw weights."""
    level, action = filters.get("level", "token"), filters.get("action", "mask")
    metric, agg = filters.get("metric", "ratio"), filters.get("agg", "mean")
    upper, lower = filters.get("upper", 5.0), filters.get("lower")
    over: Any = "token" if level == "token" else agg
    if over == "max" and lower is not None:
        record.facts.add("a lower bound on the largest")
    if metric == "kl_k1":
        low = 0.0 if lower is None else math.exp(lower)
        if math.exp(upper) < 1 or low > 1:
            record.facts.add("bounds that leave out a ratio of 1")
        return (Importance(high=NO_BOUND), Reject(max(1.0, math.exp(upper)), min(1.0, low), over=over))
    if metric != "ratio":
        if lower is not None:
            record.facts.add("a lower bound on a divergence")
        raw = Importance(high=NO_BOUND)
        return (raw,) if metric == "kl_k3" else (raw, Reject(upper, divergence="k2", over=over))
    if level == "token":
        return (Importance("token", "drop" if action == "mask" else "clamp", lower or 0.0, upper),)
    if action == "clamp":
        return (Importance("geometric", "clamp", lower or 0.0, upper),)
    return (Importance("geometric", high=NO_BOUND), Reject(upper, lower or 0.0, over=over))


def sapo(record: Record) -> None:
    """It takes the token mean. Its sequence level gives all tokens the ratio of the row."""
    if record.settings.get("importance_sampling_level", "token") == "sequence":
        record.facts.add("a gate on a sequence's ratio")
    compare_loss(record, (1.0, Term(sapo_of(record), TokenMean())))


ADAPTERS = {"areal.loss.decoupled_ppo": decoupled, "areal.loss.sapo": sapo}
