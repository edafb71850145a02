"""SkyRL's policy losses: sums over tokens of advantages that are divided by the normaliser before."""

from typing import Any

import numpy as np

from golden.adapters.losses import compare_covered, ppo_of, sapo_of
from golden.adapters.tools import batch_with, clip_of, compare_loss, factor, limit_of, weighed
from golden.records import Record
from menon.correction import CorrectionPart
from menon.correction.importance import Importance
from menon.correction.reject import Reject
from menon.loss import CISPO, DPPO, GSPOToken, KLCov, PPOClip
from menon.loss.aggregation import (
    AggregationPart,
    Constant,
    PromptMean,
    SequenceMeanTokenMean,
    TokenMean,
)
from menon.update.terms import Term
from rows import rows_of


def share_of(record: Record) -> tuple[AggregationPart, float]:
    """Row means divide by all rows."""
    rows = record.share_of_filled_rows
    mode = record.settings.get("loss_reduction", "token_mean")
    if mode == "seq_mean_token_sum_norm":
        return Constant(record.settings["max_seq_len"]), rows
    if mode == "prompt_mean":
        return PromptMean(), prompts_with_tokens(record)
    return {
        "token_mean": (TokenMean(), 1.0),
        "token_mean_legacy": (TokenMean(), 1.0),
        "sequence_mean": (SequenceMeanTokenMean(), rows),
    }[mode]


def prompts_with_tokens(record: Record) -> float:
    """It divides by all prompts, ours by those with a token."""
    spans = record.settings["prompt_boundaries"]
    return float(np.mean([record.filled[start:end].any() for start, end in spans]))


def groups_of(record: Record) -> list[int]:
    """Prompts are runs of rows."""
    group = [0] * len(record.mask)
    for number, (start, end) in enumerate(record.settings.get("prompt_boundaries") or []):
        group[start:end] = [number] * (end - start)
    return group


def masks_of(given: Any) -> list[list[CorrectionPart]]:
    """Its masks in their order; each sees the tokens that the one before has kept."""
    found: list[list[CorrectionPart]] = []
    low, high = (given.get(f"outlier_token_is_threshold_{side}") for side in ("low", "high"))
    if low is not None or high is not None:
        found.append([Reject(np.inf if high is None else high, low or 0.0, over="max")])
    low, high = (given.get(f"token_mask_is_threshold_{side}") for side in ("low", "high"))
    if low is not None and high is not None:
        found.append([Reject(high, low, over="token")])
    metric = given.get("sequence_mask_metric")
    if metric is not None:
        over: Any
        over, prefix, low, high = {
            "product": ("sum", "product", 0.5, 2.0),
            "geometric": ("mean", "geo", 0.99, 1.01),
        }[metric]
        found.append(
            [Reject(given.get(f"{prefix}_mask_high", high), given.get(f"{prefix}_mask_low", low), over=over)]
        )
    return found


def weight_of(given: Any) -> list[CorrectionPart]:
    kind = given.get("tis_ratio_type")
    if kind is None:
        return []
    default = {"token": 2.0, "sequence": 5.0}[kind]
    return [Importance(kind, high=given.get(f"{kind}_tis_ratio_clip_high", default))]


def off_policy(record: Record) -> np.ndarray | None:
    """[S, T] the weight of each token after its corrections. Weights of sequences are products over what the
    masks of tokens have kept, and its mask of sequences comes last."""
    given = record.settings.get("off_policy_correction") or {}
    if "rollout_logprobs" not in record.inputs or not given:
        return None
    kept, masks = record, masks_of(given)
    tokens = [part for part in masks if part[0].over in ("max", "token")]  # type: ignore[union-attr]
    for parts in tokens:
        kept = kept.masked(rows(kept, parts) * kept.mask)
    weight = rows(kept, weight_of(given)) * kept.mask
    for parts in masks[len(tokens) :]:
        weight = weight * rows(kept, parts)
    return weight


def rows(record: Record, parts: list[CorrectionPart]) -> np.ndarray:
    batch = batch_with(record)
    assert batch.old_logp is not None
    return rows_of(batch, factor(batch, batch.old_logp, *parts), record.width).numpy()


def alone(record: Record) -> tuple[CorrectionPart, ...] | None:
    """The parts of corrections that do not depend on each other, which a term can hold."""
    given = record.settings.get("off_policy_correction") or {}
    parts = [part for each in masks_of(given) for part in each] + weight_of(given)
    return tuple(parts) if len(parts) <= 1 and "rollout_logprobs" in record.inputs else None


def compare(record: Record, part: Any, **columns: Any) -> None:
    share, scale = share_of(record)
    batch = batch_with(record, group=groups_of(record), **columns)
    correction = alone(record)
    if correction is None or columns:
        weight = off_policy(record)
        if weight is not None:
            numbers = record.batch(value=weight).value
            assert numbers is not None
            batch = weighed(batch, numbers)
        correction = ()
    compare_loss(record, (scale, Term(part, share, correction=correction)), batch=batch)


def ppo(record: Record) -> None:
    """The bound of dual clip counts only where the loss is of that type."""
    dual = record.settings.get("policy_loss_type", "regular") == "dual_clip"
    plain = PPOClip(*clip_of(record), limit_of(record))
    compare(record, ppo_of(record, 3.0) if dual else plain)


def cispo(record: Record) -> None:
    own = record.settings.get("cispo", {})
    low, high = own.get("cispo_eps_clip_low", 1.0), own.get("cispo_eps_clip_high", 4.0)
    anchored = own.get("cispo_anchor", "old") == "rollout"
    columns = {"old_logp": "rollout_logprobs"} if anchored else {}
    compare(record, CISPO(1 - low, 1 + high, limit_of(record)), **columns)


def dppo(record: Record) -> None:
    """Without a sampler's log-probs it measures from the old policy."""
    own = record.settings.get("dppo", {})
    distance: Any = own.get("dppo_type", "binary_tv").removeprefix("binary_")
    part = DPPO(
        own.get("delta_low", 0.2),
        own.get("delta_high", 0.2),
        drift=0,
        distance=distance,
        limit=limit_of(record),
    )
    columns = {} if "rollout_logprobs" in record.inputs else {"behaviour_logp": "old_logprobs"}
    compare(record, part, **columns)


def kl_cov(record: Record) -> None:
    own = record.settings.get("kl_cov", {})
    part = KLCov(own.get("kl_cov_frac", 0.2), own.get("ppo_kl_coef", 1.0), limit=limit_of(record))
    share, scale = share_of(record)
    batch = batch_with(record, group=groups_of(record))
    compare_loss(record, (scale, Term(part, share)), batch=batch)


def clip_cov(record: Record) -> None:
    compare_covered(record, *share_of(record))


ADAPTERS = {
    "skyrl.loss.cispo": cispo,
    "skyrl.loss.clip_cov": clip_cov,
    "skyrl.loss.dppo": dppo,
    "skyrl.loss.gspo": lambda record: compare(record, GSPOToken(*clip_of(record))),
    "skyrl.loss.kl_cov": kl_cov,
    "skyrl.loss.ppo": ppo,
    "skyrl.loss.sapo": lambda record: compare(record, sapo_of(record)),
}
