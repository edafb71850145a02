"""TRL's GRPO trainer and its variants, GMPO, and its RLOO loss."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from golden.adapters.losses import ppo_of
from golden.adapters.tools import (
    LARGEST,
    NO_BOUND,
    Scaled,
    batch_with,
    clip_of,
    compare_loss,
    compare_parts,
    corrected,
    current,
    factor,
    limit_of,
    weighed,
    weights_of,
)
from golden.records import Record
from menon.batch import Batch
from menon.correction.opsm import OPSM
from menon.loss import CISPO, GSPO, KL, SAPO, VESPO, DualClip, EntropyBonus, GeoMean
from menon.loss.aggregation import (
    AggregationPart,
    Constant,
    SelectedMean,
    SequenceMean,
    SequenceMeanTokenMean,
    TokenMean,
)
from menon.select import TopEntropy
from menon.update.terms import Term
from rows import rows_of

BY_ITEMS = ("dapo", "cispo", "vespo")
"""Losses that divide by the tokens of a global batch."""


def share_of(record: Record) -> tuple[AggregationPart, float]:
    """Row means divide by all rows; some losses by the tokens of a global batch."""
    settings, rows = record.settings, record.share_of_filled_rows
    kind = settings.get("loss_type", "dapo")
    if kind in BY_ITEMS:
        items = max(settings["num_items_in_batch"], 1) / settings.get("num_processes", 1)
        return TokenMean(), int(record.mask.sum()) / items
    steps = settings.get("gradient_accumulation_steps", 1)
    if kind == "dr_grpo":
        return Constant(settings["max_completion_length"]), rows / steps
    return {
        "grpo": (SequenceMeanTokenMean(), rows / steps),
        "sapo": (SequenceMeanTokenMean(), rows / steps),
        "luspo": (SequenceMean(), rows / steps),
        "bnpo": (TokenMean(), 1.0 / steps),
    }[kind]


def loss_of(record: Record) -> Any:
    settings, (low, high), limit = record.settings, clip_of(record), limit_of(record)
    kind = settings.get("loss_type", "dapo")
    if kind == "cispo":  # its upper bound is a ratio, and there is no lower one
        return CISPO(high=high, limit=limit)
    if kind == "sapo":
        names = (("sapo_temperature_pos", 1.0), ("sapo_temperature_neg", 1.05))
        # It keeps them in single precision.
        return SAPO(*(float(np.float32(settings.get(name, default))) for name, default in names), limit)
    if kind == "vespo":
        return vespo_of(record)
    bound = settings.get("delta")
    if by_sequence(record):
        return GSPO(low, high, limit=limit, bound=bound)
    return ppo_of(record) if bound is None else DualClip(low, high, bound, limit)


def vespo_of(record: Record) -> VESPO:
    """The log of a sequence's weight is held above log 1e-8, which a small power shows."""
    settings = record.settings
    change = record.inputs["logprobs"] - record.inputs.get("old_logprobs", record.inputs["logprobs"])
    if ((np.clip(change, -20, 20) * record.mask).sum(1) < math.log(1e-8)).any():
        record.facts.add("a weight below 1e-8")
    k = [settings.get(f"vespo_k_{side}", default) for side, default in (("pos", 2.0), ("neg", 3.0))]
    lam = [settings.get(f"vespo_lambda_{side}", default) for side, default in (("pos", 3.0), ("neg", 2.0))]
    return VESPO(k[0], max(lam[0], 1e-4), k[1], max(lam[1], 1e-4), limit=20.0)


def by_sequence(record: Record) -> bool:
    """The ratio is one of whole rows."""
    return record.settings.get("importance_sampling_level", "token") == "sequence"


def weight_of(record: Record, batch: Batch) -> Tensor | None:
    """[N] the weight of each token's loss: recorded weights, and rows that are masked for having moved
    away."""
    settings, inputs = record.settings, record.inputs
    weight: Tensor | None = None
    recorded = weights_of(record) if settings.get("vllm_importance_sampling_correction", True) else None
    if recorded is not None and settings.get("loss_type", "dapo") != "vespo":
        weight = record.batch(value=recorded).value
    threshold = settings.get("off_policy_mask_threshold")
    if threshold is not None:
        start = inputs.get("rollout_logprobs", inputs.get("old_logprobs", inputs["logprobs"]))
        since = batch_with(record, behaviour_logp=start)
        mask = factor(since, current(record, batch), OPSM(threshold, "behaviour"))
        weight = mask if weight is None else weight * mask
    return weight


def alone(record: Record) -> tuple[Batch, tuple[Any, ...]] | None:
    """The batch and the corrections of a term, where one of both weights is all there is."""
    settings = record.settings
    masked = settings.get("off_policy_mask_threshold") is not None
    on = settings.get("vllm_importance_sampling_correction", True)
    recorded = weights_of(record) is not None and on
    if by_sequence(record) or (masked and recorded) or settings.get("loss_type", "dapo") == "vespo":
        return None
    if masked:
        if "rollout_logprobs" not in record.inputs:
            return batch_with(record), (OPSM(settings["off_policy_mask_threshold"]),)
        return batch_with(record), (OPSM(settings["off_policy_mask_threshold"], "behaviour"),)
    return corrected(record) if recorded else (batch_with(record), ())


def selection(record: Record) -> TopEntropy | None:
    quantile = record.settings.get("top_entropy_quantile", 1.0)
    if quantile >= 1:
        return None
    note_quantile(record, quantile, 1 - quantile)
    return TopEntropy(max(quantile, 1e-9), "old")


def note_quantile(record: Record, fraction: float, quantile: float) -> None:
    """Its threshold is interpolated between two entropies, in single precision; ours is one of them. They do
    not always keep the same tokens."""
    entropies = torch.tensor(record.inputs["entropies"])[torch.tensor(record.mask) > 0]
    if not len(entropies):
        return
    theirs = entropies >= torch.quantile(entropies.float(), quantile)
    least = entropies.topk(max(math.ceil(fraction * len(entropies)), 1)).values[-1]
    if not torch.equal(theirs, entropies >= least):
        record.facts.add("a quantile that keeps other tokens")


def policy_of(record: Record) -> tuple[Batch, Scaled]:
    share, scale = share_of(record)
    select = selection(record)
    part = loss_of(record)
    single = alone(record)
    if single is not None:
        batch, correction = single
        return batch, (scale, Term(part, share, select, correction=correction))
    batch = batch_with(record)
    weight = weight_of(record, batch)
    batch = batch if weight is None else weighed(batch, weight)
    if isinstance(part, VESPO) and weights_of(record) is not None:
        # Weights of the sampler are a part of the sequence's ratio.
        batch = batch_with(record, old_logp=record.inputs["old_logprobs"] - np.log(weights_of(record)))
        batch = batch if weight is None else weighed(batch, weight)
    if not isinstance(part, GSPO):
        return batch, (scale, Term(part, share, select))
    return sequence_form(record, batch, share, scale, part, select)


def sequence_form(
    record: Record, batch: Batch, share: AggregationPart, scale: float, part: GSPO, select: TopEntropy | None
) -> tuple[Batch, Scaled]:
    """The gradient reaches every token through the row's ratio, whatever the token weighs: GSPO, whose share
    is one row's, on advantages that carry each token's weight."""
    chosen = batch.trained
    if select is not None:
        chosen = chosen & select.prepare(batch, lambda *needs: {})["top_entropy"]
    weight = share(batch, batch.trained) * chosen
    size = batch.action_lengths.repeat_interleave(batch.lengths) * int(record.filled.sum())
    return weighed(batch, weight * size), (scale, Term(part, SequenceMean()))


def kl_of(record: Record) -> Scaled:
    """Times the ratio where it is corrected for its bias."""
    settings = record.settings
    share, scale = share_of(record)
    weigh: Any = "old" if settings.get("use_bias_correction_kl", False) else None
    if weigh and by_sequence(record):
        record.facts.add("a KL times a sequence's ratio")
    return scale, Term(KL("k3", weigh, LARGEST, NO_BOUND), share, coef=settings["beta"])


def bonus_of(record: Record) -> Scaled:
    """On the tokens of the selection; by tokens of the global batch, or as their mean."""
    settings, select = record.settings, selection(record)
    if settings.get("loss_type", "dapo") in BY_ITEMS:
        share, scale = share_of(record)
    else:
        scale = 1.0 / settings.get("gradient_accumulation_steps", 1)
        share = TokenMean() if select is None else SelectedMean()
    return scale, Term(EntropyBonus(), share, select, coef=settings["entropy_coef"])


def grpo(record: Record) -> None:
    settings = record.settings
    kind = settings.get("loss_type", "dapo")
    if by_sequence(record) and kind in ("cispo", "sapo"):
        record.facts.add("a token's loss with a sequence's ratio")
    if kind == "luspo" and not one_number_per_row(record):
        record.facts.add("a mean over padding")
    parts = [policy_of(record)]
    if settings.get("beta", 0.0):
        parts.append((batch_with(record), kl_of(record)))
    if settings.get("entropy_coef", 0.0):
        parts.append((batch_with(record), bonus_of(record)))
    leaves = ("logp", "entropy") if settings.get("entropy_coef", 0.0) else ("logp",)
    compare_parts(record, *parts, first="old_logprobs" not in record.inputs, leaves=leaves)


def one_number_per_row(record: Record) -> bool:
    """Nothing of a token multiplies or adds to a row's loss."""
    settings = record.settings
    weights = record.inputs.get("importance_sampling_ratio", np.ones((1, 1)))
    return (
        by_sequence(record)
        and not settings.get("beta", 0.0)
        and settings.get("top_entropy_quantile", 1.0) >= 1
        and np.shape(weights)[-1] == 1
    )


def gmpo(record: Record) -> None:
    """The geometric mean is over the selected tokens, the KL over all; both are means over all rows."""
    settings = record.settings
    steps = settings.get("gradient_accumulation_steps", 1)
    kept, select = record, selection(record)
    if select is not None:
        chosen = select.prepare(batch_with(record), lambda *needs: {})["top_entropy"]
        kept = record.masked(rows_of(batch_with(record), chosen.double(), record.width).numpy())
    if (record.filled & ~kept.filled).any() or not record.filled.all():
        record.facts.add("a row without a token to weigh")
    part = GeoMean(*clip_of(record, 0.4), limit_of(record))
    parts = [(batch_with(kept), (kept.share_of_filled_rows / steps, Term(part, SequenceMean())))]
    if settings.get("beta", 0.0):
        kl: Any = Term(KL("k3", None, LARGEST, NO_BOUND), SequenceMeanTokenMean(), coef=settings["beta"])
        parts.append((batch_with(record), (record.share_of_filled_rows / steps, kl)))
    compare_parts(record, *parts, first="old_logprobs" not in record.inputs)


def rloo(record: Record) -> None:
    part = GSPO(*clip_of(record), ratio="product", limit=limit_of(record))
    compare_loss(record, (record.share_of_filled_rows, Term(part, SequenceMean())))


ADAPTERS = {
    "trl.loss.gmpo": gmpo,
    "trl.loss.grpo": grpo,
    "trl.loss.grpo_top_entropy": grpo,
    "trl.loss.rloo": rloo,
}
