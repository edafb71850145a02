"""TRL's GRPO trainer and its variants, and its RLOO loss."""

from typing import Any

import numpy as np

from golden.adapters.losses import ppo_of
from golden.adapters.tools import NO_BOUND, Scaled, clip_of, compare_loss, corrected, limit_of
from golden.records import Record
from menon.correction.opsm import OPSM
from menon.loss import CISPO, GSPO, KL, SAPO, VESPO, DualClip, EntropyBonus, GeoMean, GSPOToken
from menon.loss.aggregation import AggregationPart, Constant, SequenceMean, SequenceMeanTokenMean, TokenMean
from menon.select import TopEntropy
from menon.update.terms import Term


def share_of_trl(record: Record) -> tuple[AggregationPart, float]:
    """Row means divide by all rows; `dapo`, `cispo` and `vespo` by the tokens of a global batch."""
    settings, rows = record.settings, record.share_of_filled_rows
    steps = settings["gradient_accumulation_steps"]
    by_items = (TokenMean(), int(record.mask.sum()) / settings["num_items_in_batch"])
    return {
        "grpo": (SequenceMeanTokenMean(), rows / steps),
        "sapo": (SequenceMeanTokenMean(), rows / steps),
        "gmpo": (SequenceMean(), rows / steps),
        "luspo": (SequenceMean(), rows / steps),
        "bnpo": (TokenMean(), 1.0 / steps),
        "dr_grpo": (Constant(settings["max_completion_length"]), rows / steps),
        "dapo": by_items,
        "cispo": by_items,
        "vespo": by_items,
    }[settings["loss_type"]]


def loss_of_trl(record: Record) -> Any:
    settings, (low, high) = record.settings, clip_of(record)
    kind, limit = settings["loss_type"], limit_of(record)
    if kind == "cispo":  # its upper bound is a ratio, and there is no lower one
        return CISPO(high=high, limit=limit)
    if kind == "gmpo":
        return GeoMean(low, high, limit)
    if kind == "sapo":
        names = (("sapo_temperature_pos", 1.0), ("sapo_temperature_neg", 1.05))
        return SAPO(
            *(float(np.float32(settings.get(name, default))) for name, default in names), limit
        )  # it keeps them in single precision
    if kind == "vespo":
        return VESPO(limit=limit)
    if settings["importance_sampling_level"] == "sequence":
        return GSPOToken(low, high, limit)
    if settings.get("delta"):
        return DualClip(low, high, settings["delta"], limit)
    return ppo_of(record)


def grpo(record: Record) -> None:
    """Masks of whole rows keep their tokens in the denominator; the entropy is always a token mean."""
    settings, inputs = record.settings, record.inputs
    share, scale = share_of_trl(record)
    select = (
        TopEntropy(settings["top_entropy_quantile"], "old") if settings["top_entropy_quantile"] < 1 else None
    )
    batch, weights = corrected(record)
    correction: tuple[Any, ...] = weights
    if settings["off_policy_mask_threshold"] is not None:
        correction = (*weights, OPSM(settings["off_policy_mask_threshold"], "behaviour"))
    terms: list[Scaled] = [(scale, Term(loss_of_trl(record), share, select, correction=correction))]
    if settings["beta"]:
        part = KL("k3", "old" if settings.get("use_bias_correction_kl") else None, limit_of(record), NO_BOUND)
        terms.append((scale, Term(part, share, coef=settings["beta"])))
    if settings["entropy_coef"]:
        terms.append((1.0, Term(EntropyBonus(), TokenMean(), coef=settings["entropy_coef"])))
    leaves = ("logp", "entropy") if "entropies" in record.gradient else ("logp",)
    compare_loss(record, *terms, first="old_logprobs" not in inputs, batch=batch, leaves=leaves)


def rloo(record: Record) -> None:
    compare_loss(
        record,
        (
            record.share_of_filled_rows,
            Term(GSPO(*clip_of(record), ratio="product", limit=limit_of(record)), SequenceMean()),
        ),
    )


ADAPTERS = {
    "trl.loss.gmpo": grpo,
    "trl.loss.grpo": grpo,
    "trl.loss.grpo_top_entropy": grpo,
    "trl.loss.rloo": rloo,
}
