"""Policy losses and their gradients: verl, SkyRL, OpenRLHF, ORZ, ReaLHF, SPO, slime, AReaL, prime-rl, the
authors' own codes."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from golden.adapters.tools import NO_BOUND, batch_with, clip_of, compare_loss, corrected, limit_of, share_of
from golden.records import Record
from menon.correction import CorrectionPart
from menon.correction.importance import Importance
from menon.correction.reject import Reject
from menon.loss import (
    CISPO,
    DPPO,
    GSPO,
    KL,
    NLL,
    SAPO,
    ClipCov,
    DualClip,
    GeoMean,
    GSPOToken,
    KLCov,
    PolicyGradient,
    PPOClip,
)
from menon.loss.aggregation import (
    AggregationPart,
    Constant,
    PromptMean,
    SelectedMean,
    SequenceMean,
    SequenceMeanTokenMean,
    TokenMean,
)
from menon.select import ProbabilityMask, TopEntropy
from menon.update.terms import Term
from rows import column_of, rows_of, value_and_gradient

DUAL = ("dual_clip", "c_clip", "clip_ratio_c", "ratio_clip_c", "eps_clip_c")


def ppo_of(record: Record) -> PPOClip | DualClip:
    bound = next((record.settings[name] for name in DUAL if record.settings.get(name) is not None), None)
    limit = limit_of(record)
    return PPOClip(*clip_of(record), limit) if bound is None else DualClip(*clip_of(record), bound, limit)


def share_by_mode(record: Record) -> tuple[AggregationPart, float]:
    """Where the loss names its aggregation, that; where it says token level or not, the mean over tokens or
    over rows."""
    settings = record.settings
    if "loss_agg_mode" in settings:
        return share_of(record, settings["loss_agg_mode"])
    return share_of(record, "token-mean" if settings.get("token_level_loss", True) else "seq-mean-token-mean")


def verl_ppo(record: Record) -> None:
    compare_verl(record, ppo_of(record))


def compare_verl(record: Record, part: Any) -> None:
    share, scale = share_by_mode(record)
    batch, correction = corrected(record)
    compare_loss(record, (scale, Term(part, share, correction=correction)), batch=batch)


def by_mode(part: Any) -> Any:
    """An adapter of a loss whose settings a function of the record gives."""

    def adapter(record: Record) -> None:
        compare_verl(record, part(record))

    return adapter


SKYRL_SHARES = ("token_mean", "sequence_mean", "seq_mean_token_sum_norm", "prompt_mean", "token_mean_legacy")


def skyrl_share(record: Record) -> tuple[AggregationPart, float]:
    """Row means divide by all rows."""
    return {
        "token_mean": (TokenMean(), 1.0),
        "token_mean_legacy": (TokenMean(), 1.0),
        "sequence_mean": (SequenceMeanTokenMean(), record.share_of_filled_rows),
        "seq_mean_token_sum_norm": (Constant(record.settings["max_seq_len"]), record.share_of_filled_rows),
        "prompt_mean": (PromptMean(), 1.0),
    }[record.settings["loss_reduction"]]


def skyrl_correction(record: Record) -> tuple[CorrectionPart, ...]:
    """A sequence mask has default bounds, which are recorded only where they were set."""
    given = record.settings.get("off_policy_correction") or {}
    parts: list[CorrectionPart] = []
    if given.get("tis_ratio_type") == "token":
        parts.append(Importance(high=given["token_tis_ratio_clip_high"]))
    if given.get("tis_ratio_type") == "sequence":
        parts.append(Importance("sequence", high=given["sequence_tis_ratio_clip_high"]))
    if "sequence_mask_metric" in given:
        metric = given["sequence_mask_metric"]
        over, prefix, low, high = {
            "product": ("sum", "product", 0.5, 2.0),
            "geometric": ("mean", "geo", 0.99, 1.01),
        }[metric]
        bounds = given.get(f"{prefix}_mask_high", high), given.get(f"{prefix}_mask_low", low)
        parts.append(Reject(*bounds, over=over))  # type: ignore[arg-type]
    if "token_mask_is_threshold_low" in given:
        parts.append(
            Reject(given["token_mask_is_threshold_high"], given["token_mask_is_threshold_low"], over="token")
        )
    if "outlier_token_is_threshold_low" in given:
        parts.append(
            Reject(
                given["outlier_token_is_threshold_high"], given["outlier_token_is_threshold_low"], over="max"
            )
        )
    return tuple(parts)


def skyrl(record: Record, part: Any = None) -> None:
    """Prompts are runs of rows."""
    settings, count = record.settings, len(record.mask)
    group = [0] * count
    for number, (start, end) in enumerate(settings["prompt_boundaries"] or []):
        group[start:end] = [number] * (end - start)
    share, scale = skyrl_share(record)
    term = Term(part or ppo_of(record), share, correction=skyrl_correction(record))
    compare_loss(record, (scale, term), batch=batch_with(record, group=group))


def skyrl_gspo(record: Record) -> None:
    compare_loss(record, (record.share_of_filled_rows, Term(GSPO(*clip_of(record)), SequenceMean())))


def skyrl_kl_cov(record: Record) -> None:
    own = record.settings["kl_cov"]
    skyrl(record, KLCov(own["kl_cov_frac"], own["ppo_kl_coef"]))


def skyrl_dppo(record: Record) -> None:
    own = record.settings["dppo"]
    skyrl(
        record,
        DPPO(own["delta_low"], own["delta_high"], drift=0, distance=own["dppo_type"].removeprefix("binary_")),
    )


def openrlhf(record: Record) -> None:
    """Bounds of the weights are a pair; IcePop drops, a sequence mask keeps raw weights of the sequences it
    keeps."""
    settings = record.settings
    correction: tuple[CorrectionPart, ...] = ()
    if settings.get("enable_vllm_is_correction"):
        low, high = settings["vllm_is_truncated_threshold"]
        correction = {
            "tis": (Importance(low=low, high=high),),
            "icepop": (Importance(outside="drop", low=low, high=high),),
            "seq-mask-tis": (Importance(high=NO_BOUND), Reject(high, low)),
        }[settings["vllm_is_correction_type"]]
    if record.variant == "gspo":
        compare_loss(record, (1.0, Term(GSPO(*clip_of(record)), SequenceMean(), correction=correction)))
        return
    share, scale = share_by_mode(record)
    compare_loss(record, (scale, Term(ppo_of(record), share, correction=correction)))


def orz(record: Record) -> None:
    share = SequenceMeanTokenMean() if record.variant == "padded" else TokenMean()
    compare_loss(record, (1.0, Term(ppo_of(record), share)))


def spo(record: Record) -> None:
    """The KL term is a token sum over the kept tokens, averaged over all rows."""
    settings = record.settings
    select = ProbabilityMask(settings["threshold"]) if settings["use_prob_mask"] else None
    terms: list[Any] = [(1.0, Term(ppo_of(record), SelectedMean(), select))]
    if settings["kl_coef"]:
        name = {"mse": "k2", "kl": "k1", "control_variate": "k3", "abs": "abs"}[
            settings["kl_penalty_loss_type"]
        ]
        part = KL(name, limit=10.0, most=NO_BOUND)  # type: ignore[arg-type]
        terms.append((record.share_of_filled_rows, Term(part, SequenceMean(), select, settings["kl_coef"])))
    compare_loss(record, *terms)


def verl_cispo(record: Record) -> None:
    """Bounds are distances from 1."""
    low, high = clip_of(record)
    compare_verl(record, CISPO(1 - low, 1 + high))


def skyrl_cispo(record: Record) -> None:
    own = record.settings["cispo"]
    skyrl(record, CISPO(1 - own["cispo_eps_clip_low"], 1 + own["cispo_eps_clip_high"]))


def slime(record: Record) -> None:
    """Unreduced losses; the gradient is that of their sum. GSPO repeats its number on each of a row's
    tokens."""
    (low, high), limit = clip_of(record), limit_of(record)
    batch = batch_with(record)
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    part = {
        "cispo": lambda: CISPO(1 - low, 1 + high, limit),
        "gspo": lambda: GSPO(low, high, limit=limit),
    }.get(record.variant, lambda: ppo_of(record))()
    number = part(now, batch)
    if record.variant == "gspo":
        total = torch.stack([each.sum() for each in number.split(batch.lengths.tolist())])
        number = torch.where(batch.trained, total.repeat_interleave(batch.lengths), 0)
    record.check("token_loss", rows_of(batch, number, record.width))
    (gradient,) = torch.autograd.grad(number.sum(), now["logp"])
    record.check_gradient("logprobs", rows_of(batch, gradient, record.width))


def gspo(record: Record) -> None:
    batch, correction = corrected(record)
    compare_loss(
        record, (1.0, Term(GSPO(*clip_of(record)), SequenceMean(), correction=correction)), batch=batch
    )


def geo_mean(record: Record) -> None:
    """The mean is over all rows. Each row's loss is weighed by the geometric mean of its tokens' weights."""
    batch, correction = corrected(record)
    correction = tuple(replace(part, level="geometric") for part in correction)
    term = Term(GeoMean(*clip_of(record)), SequenceMean(), correction=correction)
    compare_loss(record, (record.share_of_filled_rows, term), batch=batch)


def kl_cov(record: Record) -> None:
    """The authors give the fraction in percent."""
    settings = record.settings
    fraction = settings["kl_cov_ratio"] if "kl_cov_ratio" in settings else settings["k_percent"] / 100
    compare_verl(record, KLCov(fraction, settings["ppo_kl_coef"], limit=limit_of(record)))


def clip_cov(record: Record) -> None:
    """The peer's random choice is an input: its order of the candidates stands for our draws."""
    settings = record.settings
    own = settings.get("clip_cov", settings)
    fraction = own.get("clip_cov_ratio", own.get("clip_ratio"))
    batch = batch_with(record)
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    part = ClipCov(fraction, own["clip_cov_lb"], own["clip_cov_ub"], *clip_of(record), limit=limit_of(record))
    candidates = part.candidates(now["logp"].detach(), batch)
    order = torch.as_tensor(record.inputs["candidate_permutation"]).long()
    draw = torch.full((batch.num_tokens,), torch.inf, dtype=torch.float64)
    place = candidates.nonzero()[:, 0]
    if len(place) == len(order):
        draw[place[order]] = torch.arange(len(order), dtype=torch.float64)
    chosen = part.choose(candidates, draw, int(batch.trained.sum()))
    record.check("selected", rows_of(batch, chosen.double(), record.width))
    ready = replace(batch, columns={part.column: chosen})
    share, scale = skyrl_share(record) if "loss_reduction" in settings else share_by_mode(record)
    loss = scale * (part(now, ready) * share(batch, batch.trained)).sum()
    record.check("loss", float(loss.detach()))
    (gradient,) = torch.autograd.grad(loss, now["logp"])
    record.check_gradient("logprobs", rows_of(batch, gradient, record.width))


def sapo_of(record: Record) -> SAPO:
    own = record.settings.get("sapo", record.settings)
    return SAPO(own["tau_pos"], own["tau_neg"], limit_of(record))


def sapo(record: Record) -> None:
    """AReaL takes the token mean. Its sequence level gives all tokens the ratio of the row."""
    if record.function.startswith("areal"):
        compare_loss(record, (1.0, Term(sapo_of(record), TokenMean())))
    elif record.function.startswith("skyrl"):
        skyrl(record, sapo_of(record))
    else:
        batch, correction = corrected(record)
        compare_loss(
            record, (1.0, Term(sapo_of(record), SequenceMeanTokenMean(), correction=correction)), batch=batch
        )


def eighty_twenty(record: Record) -> None:
    """Its mask becomes the selection, so a token mean counts the selected tokens."""
    mode = record.settings["loss_agg_mode"]
    share, scale = (SelectedMean(), 1.0) if mode == "token-mean" else share_of(record, mode)
    compare_loss(
        record, (scale, Term(ppo_of(record), share, TopEntropy(record.settings["top_ratio"], "old")))
    )


def decoupled(record: Record) -> None:
    """AReaL. `proximal` is our old policy; a missing sampler is the old policy itself. Filters by a
    divergence drop tokens and keep the raw weights of the others."""
    inputs, settings = record.inputs, record.settings
    batch = batch_with(record, old_logp="proximal_logprobs")
    correction: tuple[CorrectionPart, ...] = ()
    if settings["rejection_sampling"]:
        correction = areal_filter(**settings["rejection_sampling"])
    elif "rollout_logprobs" in inputs:
        correction = (Importance(high=NO_BOUND),)
    part: Any = ppo_of(record)
    if settings["importance_sampling_level"] == "sequence":
        # One advantage per row, the mean of its tokens'.
        size = np.maximum(record.mask.sum(1, keepdims=True), 1)
        mean = (inputs["advantages"] * record.mask).sum(1, keepdims=True) / size
        batch = batch_with(
            record, old_logp="proximal_logprobs", advantage=np.array(np.broadcast_to(mean, record.mask.shape))
        )
        part = GSPOToken(*clip_of(record), limit_of(record))
    compare_loss(record, (1.0, Term(part, TokenMean(), correction=correction)), batch=batch)


def areal_filter(
    level: str, action: str, metric: str, agg: str, upper: float, lower: float | None
) -> tuple[CorrectionPart, ...]:
    low = lower or 0.0
    if metric == "ratio" and level == "token":
        return (Importance("token", "drop" if action == "mask" else "clamp", low, upper),)
    over: Any = "token" if level == "token" else agg
    if metric != "ratio":
        return (Importance(high=NO_BOUND), Reject(upper, divergence=metric.removeprefix("kl_"), over=over))  # type: ignore[arg-type]
    if action == "clamp":
        return (Importance("geometric", "clamp", low, upper),)
    return (Importance("geometric", high=NO_BOUND), Reject(upper, low, over=over))


def prime(record: Record) -> None:
    """`adv_tau` scales advantages; IPO's threshold holds both sides."""
    settings = record.settings
    batch = batch_with(record, advantage=record.inputs["advantages"] * settings["adv_tau"])
    if "ipo_threshold" in settings:
        both = settings["ipo_threshold"]
        part = DPPO(both, both, drift=settings["kl_tau"], sides="both", limit=limit_of(record))
    else:
        part = DPPO(
            settings["dppo_mask_low"],
            settings["dppo_mask_high"],
            drift=settings["kl_tau"],
            limit=limit_of(record),
        )
    compare_loss(record, (1.0, Term(part, TokenMean())), batch=batch)


def sft(record: Record) -> None:
    compare_loss(
        record,
        (1.0, Term(NLL(), TokenMean() if record.settings["token_level_loss"] else SequenceMeanTokenMean())),
    )


def aggregation(record: Record) -> None:
    """A = -1 makes the policy gradient's loss the given one. Early verl counts empty rows."""
    mode = record.settings["loss_agg_mode"]
    share, scale = share_of(record, mode)
    if record.function.startswith("entropy_mechanism") and mode == "seq-mean-token-sum":
        scale *= record.share_of_filled_rows
    batch = record.batch(advantage=-np.ones(record.mask.shape))
    now = {"logp": column_of(batch, record.inputs["loss_matrix"], record.dtype)}
    value, gradient = value_and_gradient(Term(PolicyGradient(), share), batch, now)
    record.check("loss", scale * value)
    record.check_gradient("loss_matrix", scale * rows_of(batch, gradient, record.width))


ADAPTERS = {
    "areal.loss.decoupled_ppo": decoupled,
    "areal.loss.sapo": sapo,
    "eighty_twenty.loss.policy": eighty_twenty,
    "entropy_mechanism.loss.agg_loss": aggregation,
    "entropy_mechanism.loss.clip_cov": clip_cov,
    "entropy_mechanism.loss.kl_cov": kl_cov,
    "entropy_mechanism.loss.ppo": by_mode(ppo_of),
    "openrlhf.loss.policy": openrlhf,
    "openrlhf.loss.sft": sft,
    "orz.loss.policy": orz,
    "prime_rl.loss.default": prime,
    "prime_rl.loss.ipo": prime,
    "realhf.loss.policy": by_mode(ppo_of),
    "skyrl.loss.cispo": skyrl_cispo,
    "skyrl.loss.clip_cov": clip_cov,
    "skyrl.loss.dppo": skyrl_dppo,
    "skyrl.loss.gspo": skyrl_gspo,
    "skyrl.loss.kl_cov": skyrl_kl_cov,
    "skyrl.loss.ppo": skyrl,
    "skyrl.loss.sapo": sapo,
    "slime.loss.policy_tokens": slime,
    "spo.loss.policy": spo,
    "verl.loss.agg_loss": aggregation,
    "verl.loss.cispo": verl_cispo,
    "verl.loss.clip_cov": clip_cov,
    "verl.loss.geo_mean": geo_mean,
    "verl.loss.gpg": by_mode(lambda record: PolicyGradient()),
    "verl.loss.gspo": gspo,
    "verl.loss.kl_cov": kl_cov,
    "verl.loss.reinforce": by_mode(lambda record: PolicyGradient()),
    "verl.loss.sapo": sapo,
    "verl.loss.vanilla": verl_ppo,
}
