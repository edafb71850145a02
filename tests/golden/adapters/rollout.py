"""Weights and masks for text that another policy wrote: verl, TRL, slime, AReaL."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from golden.adapters.losses import ppo_of
from golden.adapters.tools import NO_BOUND, batch_with, compare_loss, current, factor, share_of, weighed
from golden.records import Record
from menon.correction.importance import Importance
from menon.correction.m2po import M2PO
from menon.correction.off_policy import LIMIT
from menon.correction.opsm import OPSM
from menon.correction.reject import Reject
from menon.loss import PolicyGradient
from menon.update.objective import mismatch
from menon.update.terms import Term
from rows import batch_of, column_of, rows_of


def weights_verl(record: Record) -> None:
    settings = record.settings
    assert settings.get("safety_bound", 20) == LIMIT
    batch = batch_with(record)
    assert batch.old_logp is not None
    part = Importance(
        settings.get("rollout_is", "token"),
        high=settings.get("rollout_is_threshold", 2.0),
        normalise=settings.get("rollout_is_batch_normalize", False),
    )
    record.check("rollout_is_weights", rows_of(batch, factor(batch, batch.old_logp, part), record.width))


def weights_trl(record: Record) -> None:
    """Its weights of padding are 1; those of a row stand once."""
    level, outside = record.settings["mode"].split("_")
    low, high = record.settings.get("clip_min") or 0.0, record.settings.get("clip_max")
    part = Importance(level, {"truncate": "clamp", "mask": "drop"}[outside], low, high or NO_BOUND)  # type: ignore[arg-type]
    batch = batch_with(record)
    assert batch.old_logp is not None
    found = rows_of(batch, factor(batch, batch.old_logp, part), record.width)
    mask = torch.as_tensor(record.mask).bool()
    if level == "sequence":
        one = factor_of_empty(record, part)
        record.check("weights", torch.where(mask.any(1), found.amax(1), one)[:, None])
    else:
        record.check("weights", torch.where(mask, found, factor_of_empty(record, part)))


def factor_of_empty(record: Record, part: Importance) -> Tensor:
    """The weight of a log-ratio of 0."""
    batch = batch_of([[1]], old_logp=[[0.0]], behaviour_logp=[[0.0]])
    assert batch.old_logp is not None
    return factor(batch, batch.old_logp, part)[-1]


def rejects_of(names: str, thresholds: str) -> list[Reject]:
    """verl compares the inverse weight with its bounds for k1, so they turn round; a single one u means [1 /
    u, u]."""
    parts, options, bounds = [], names.split(","), str(thresholds).split(",")
    if len(bounds) == 1:  # one for all
        bounds *= len(options)
    for name, bound in zip(options, bounds, strict=True):
        over, divergence = name.strip().removeprefix("seq_").split("_")
        numbers = [float(number) for number in bound.split("_")]
        if divergence == "k1":
            low, high = numbers if len(numbers) == 2 else (1 / numbers[0], numbers[0])
            parts.append(Reject(1 / low, 1 / high, "k1", over))  # type: ignore[arg-type]
        else:
            parts.append(Reject(numbers[-1], 0.0, divergence, over))  # type: ignore[arg-type]
    return parts


def rejection_mask(record: Record) -> None:
    batch = batch_with(record)
    assert batch.old_logp is not None
    parts = rejects_of(record.settings["rollout_rs"], record.settings["rollout_rs_threshold"])
    record.check("mask", rows_of(batch, factor(batch, batch.old_logp, *parts), record.width))


def metrics(record: Record) -> None:
    """Of verl's diagnostics those that a run's record keeps here."""
    batch = batch_with(record)
    old = column_of(batch, record.inputs["old_logprobs"], record.dtype).detach()
    found = mismatch({"logp": old}, replace(batch, old_logp=None))
    record.check("k3_kl", float(found["mismatch/k3"]))


def bypass(record: Record) -> None:
    """No old policy: the ratio of PPO is to the sampler's, or REINFORCE is weighed by it. Rejected tokens
    leave the mask, after the weights were made."""
    settings = record.settings
    batch = batch_with(record)
    logp, kept, weight = current(record, batch), record, None
    level, bound = settings.get("rollout_is"), settings.get("rollout_is_threshold", 2.0)
    if level is not None and bound is not None:
        normalise = settings.get("rollout_is_batch_normalize", False)
        weight = factor(batch, logp, Importance(level, high=bound, normalise=normalise, trainer="current"))
    if settings.get("rollout_rs"):
        rejects = [
            replace(part, trainer="current")
            for part in rejects_of(settings["rollout_rs"], settings["rollout_rs_threshold"])
        ]
        kept = record.masked(rows_of(batch, factor(batch, logp, *rejects), record.width).numpy())
    share, scale = share_of(kept, settings.get("loss_agg_mode", "token-mean"))
    if settings.get("loss_type", "ppo_clip") == "ppo_clip":
        term: Any = Term(ppo_of(record, 3.0), share)
        compare_loss(kept, (scale, term), batch=batch_with(kept, old_logp="rollout_logprobs"))
        return
    term = Term(PolicyGradient(), share)
    batch = batch_with(kept)
    if weight is not None:
        batch = weighed(batch, weight)
    compare_loss(kept, (scale, term), batch=batch)


def opsm(record: Record) -> None:
    batch = batch_with(record)
    logp = column_of(batch, record.inputs["logprobs"], record.dtype).detach()
    record.check(
        "mask", rows_of(batch, factor(batch, logp, OPSM(record.settings["opsm_delta"])), record.width)
    )


def m2po(record: Record) -> None:
    batch = batch_with(record, old_logp="proximal_logprobs")
    assert batch.old_logp is not None
    part = M2PO(record.settings["m2_threshold"])
    record.check("mask", rows_of(batch, factor(batch, batch.old_logp, part), record.width))


ADAPTERS = {
    "areal.util.m2po_mask": m2po,
    "slime.util.opsm_mask": opsm,
    "trl.rollout_correction.weights": weights_trl,
    "verl.loss.bypass_mode": bypass,
    "verl.rollout_correction.metrics": metrics,
    "verl.rollout_correction.rejection_mask": rejection_mask,
    "verl.rollout_correction.weights": weights_verl,
}
