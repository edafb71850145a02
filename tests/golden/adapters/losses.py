"""Policy losses and their gradients: verl, OpenRLHF, ORZ, ReaLHF, SPO, slime, prime-rl, the authors' own
codes."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from golden.adapters.tools import (
    LEAST_WEIGHT,
    NO_BOUND,
    batch_with,
    clip_of,
    compare_loss,
    corrected,
    limit_of,
    share_of,
    weighed,
    weights_of,
)
from golden.records import Record
from menon.correction import CorrectionPart
from menon.correction.importance import Importance
from menon.correction.reject import Reject
from menon.loss import (
    CISPO,
    DPPO,
    DVO,
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
    SelectedMean,
    SequenceMean,
    SequenceMeanTokenMean,
    TokenMean,
)
from menon.select import ProbabilityMask, TopEntropy
from menon.update.terms import Term
from rows import column_of, rows_of, value_and_gradient

DUAL = ("dual_clip", "c_clip", "clip_ratio_c", "ratio_clip_c", "eps_clip_c")


def bound_of(record: Record, default: float | None = None) -> float | None:
    """The bound of dual clip, under whatever name."""
    name = next((name for name in DUAL if name in record.settings), None)
    return default if name is None else record.settings[name]


def ppo_of(record: Record, default: float | None = None) -> PPOClip | DualClip:
    bound, limit = bound_of(record, default), limit_of(record)
    return PPOClip(*clip_of(record), limit) if bound is None else DualClip(*clip_of(record), bound, limit)


def share_by_mode(record: Record, default: str = "token-mean") -> tuple[AggregationPart, float]:
    """Where the loss names its aggregation, that; where it says token level or not, the mean over tokens or
    over rows."""
    settings = record.settings
    if "token_level_loss" in settings:
        return share_of(record, "token-mean" if settings["token_level_loss"] else "seq-mean-token-mean")
    return share_of(record, settings.get("loss_agg_mode", default))


def verl_ppo(record: Record) -> None:
    """verl clips twice unless the record says otherwise."""
    compare_verl(record, ppo_of(record, 3.0))


def compare_verl(record: Record, part: Any, mode: str | None = None) -> None:
    share, scale = share_by_mode(record) if mode is None else share_of(record, mode)
    batch, correction = corrected(record)
    compare_loss(record, (scale, Term(part, share, correction=correction)), batch=batch)


def by_mode(part: Any) -> Any:
    """An adapter of a loss whose settings a function of the record gives."""

    def adapter(record: Record) -> None:
        compare_verl(record, part(record))

    return adapter


def reinforce(record: Record) -> None:
    share, scale = share_by_mode(record, "seq-mean-token-sum")
    batch, correction = corrected(record)
    compare_loss(record, (scale, Term(PolicyGradient(), share, correction=correction)), batch=batch)


def openrlhf(record: Record) -> None:
    """Bounds of the weights are a pair; IcePop drops, a sequence mask keeps raw weights of the sequences it
    keeps. GSPO weighs nothing: there the correction measures the ratio from the sampler."""
    settings = record.settings
    on = settings.get("enable_vllm_is_correction", False)
    if settings.get("policy_loss_type", "ppo") == "gspo":
        _, scale = share_of(record, "seq-mean-token-mean")
        part = GSPO(*clip_of(record), limit=limit_of_gspo(record), bound=bound_of(record))
        batch = batch_with(record, old_logp="rollout_logprobs") if on else batch_with(record)
        compare_loss(record, (scale, Term(part, SequenceMean())), batch=batch)
        return
    correction: tuple[CorrectionPart, ...] = ()
    if on:
        low, high = settings["vllm_is_truncated_threshold"]
        correction = {
            "tis": (Importance(low=low, high=high),),
            "icepop": (Importance(outside="drop", low=low, high=high),),
            "seq-mask-tis": (Importance(high=NO_BOUND), Reject(high, low)),
        }[settings.get("vllm_is_correction_type", "tis")]
    share, scale = share_by_mode(record)
    compare_loss(record, (scale, Term(ppo_of(record), share, correction=correction)))


def limit_of_gspo(record: Record) -> float:
    """verl and SkyRL hold the log of a sequence's ratio below 10, the others nowhere."""
    return 10.0 if record.function.startswith(("verl", "skyrl")) else 80.0


def orz(record: Record) -> None:
    packed = record.settings.get("reduction", "").startswith("token")
    share = TokenMean() if packed or record.variant == "packed" else SequenceMeanTokenMean()
    compare_loss(record, (1.0, Term(ppo_of(record), share)))


def spo(record: Record) -> None:
    """The KL term is a token sum over the kept tokens, held from below at 0, averaged over all rows. If the
    mean ratio of the kept tokens is above a threshold, the whole loss counts nothing."""
    settings = record.settings
    threshold = settings.get("threshold", 0.9)
    select = ProbabilityMask(threshold) if settings["use_prob_mask"] else None
    batch = batch_with(record)
    part, selection = ppo_of(record), Term(ppo_of(record), SelectedMean(), select)
    terms: list[Any] = [(1.0, selection)]
    kind = settings.get("kl_penalty_loss_type")
    if kind is not None and settings["kl_coef"]:
        name: Any = {"mse": "k2", "kl": "k1", "control_variate": "k3", "abs": "abs"}[kind]
        kl = KL(name, limit=10.0, most=settings.get("kl_penalty_loss_clip_max", 1e4))
        if (
            name == "k1"
            and (record.inputs["logprobs"] < record.inputs["ref_logprobs"])[record.mask > 0].any()
        ):
            record.facts.add("KL below 0")
        terms.append((record.share_of_filled_rows, Term(kl, SequenceMean(), select, settings["kl_coef"])))
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    kept = batch.trained if select is None else select(batch) & batch.trained
    ratio = float(part_ratio(part, now, batch)[kept].mean()) if kept.any() else 0.0
    skipped = ratio > settings.get("ratio_threshold", 10.0)
    compare_loss(record, *((scale * (not skipped), term) for scale, term in terms), batch=batch)


def part_ratio(part: PPOClip | DualClip, now: dict[str, torch.Tensor], batch: Any) -> torch.Tensor:
    """[N] the ratios of the loss: what it gives, without a clip, for A = -1."""
    free = PPOClip(1.0, NO_BOUND, part.limit)
    return free(now, replace(batch, advantage=-torch.ones_like(batch.reward))).detach()


def verl_cispo(record: Record) -> None:
    """Bounds are distances from 1."""
    low, high = clip_of(record)
    compare_verl(record, CISPO(1 - low, 1 + high, limit_of(record)))


def slime(record: Record) -> None:
    """Unreduced losses; the gradient is that of their sum. GSPO puts one ratio on each of a row's tokens."""
    (low, high), limit = clip_of(record), limit_of(record)
    batch = batch_with(record)
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    bound = bound_of(record)
    if record.variant == "gspo":
        number = GSPOToken(low, high, limit, bound)(now, batch)
        # The sum over a row; its gradient reaches every token alike, through the ratio.
        total = GSPO(low, high, limit=limit, bound=bound)(now, batch)
        through = (total * torch.repeat_interleave(batch.action_lengths, batch.lengths)).sum()
    else:
        part = CISPO(1 - low, 1 + high, limit) if record.variant == "cispo" else ppo_of(record)
        number = part(now, batch)
        through = number.sum()
    record.check("token_loss", rows_of(batch, number, record.width))
    (gradient,) = torch.autograd.grad(through, now["logp"])
    record.check_gradient("logprobs", rows_of(batch, gradient, record.width))


def gspo(record: Record) -> None:
    """verl's is the token form, so it takes weights of tokens; it always averages over rows."""
    compare_verl(record, GSPOToken(*clip_of(record)), "seq-mean-token-mean")


def geo_mean(record: Record) -> None:
    """The mean is over all rows. Each row's loss is weighed by the geometric mean of its tokens' weights."""
    batch, correction = corrected(record)
    weights = weights_of(record)
    if weights is not None and (weights[record.mask > 0] < LEAST_WEIGHT).any():
        record.facts.add("weights of 0")
    correction = tuple(replace(part, level="geometric", outside="clamp", low=0.0) for part in correction)
    term = Term(GeoMean(*clip_of(record), limit_of(record)), SequenceMean(), correction=correction)
    compare_loss(record, (record.share_of_filled_rows, term), batch=batch)


def kl_cov(record: Record) -> None:
    """The authors give percents, of which they take no more than there are tokens."""
    settings, count = record.settings, int(record.mask.sum())
    fraction = settings.get("kl_cov_ratio", 2e-4)
    if "k_percent" in settings:
        fraction = (int(count * min(settings["k_percent"], count) / 100) + 0.5) / count
    part = KLCov(min(fraction, 1.0), settings.get("ppo_kl_coef", 1.0), limit=limit_of(record))
    compare_verl(record, part)


def covered(record: Record) -> tuple[ClipCov, Any, torch.Tensor, dict[str, torch.Tensor]]:
    """Clip-Cov, its batch with the choice of the record, the choice, and the log-probs. The peer's random
    choice is an input: its order of the candidates stands for our draws."""
    own = record.settings.get("clip_cov", record.settings)
    fraction = own["clip_cov_ratio"] if "clip_cov_ratio" in own else own.get("clip_ratio", 2e-4)
    batch = batch_with(record)
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    bounds = own.get("clip_cov_lb", 1.0), own.get("clip_cov_ub", 5.0)
    part = ClipCov(fraction, *bounds, *clip_of(record), limit=limit_of(record))
    candidates = part.candidates(now["logp"].detach(), batch)
    order = torch.as_tensor(record.inputs["candidate_permutation"]).long()
    draw = torch.full((batch.num_tokens,), torch.inf, dtype=torch.float64)
    place = candidates.nonzero()[:, 0]
    if len(place) == len(order):
        draw[place[order]] = torch.arange(len(order), dtype=torch.float64)
    chosen = part.choose(candidates, draw, int(batch.trained.sum()))
    record.check("selected", rows_of(batch, chosen.double(), record.width))
    return part, batch, chosen, now


def compare_covered(record: Record, share: AggregationPart, scale: float) -> None:
    part, batch, chosen, now = covered(record)
    weights = weights_of(record)
    if weights is not None:
        batch = weighed(batch, column_of(batch, weights, record.dtype).detach())
    ready = replace(batch, columns={part.column: chosen})
    loss = scale * (part(now, ready) * share(batch, batch.trained)).sum()
    record.check("loss", float(loss.detach()))
    (gradient,) = torch.autograd.grad(loss, now["logp"])
    record.check_gradient("logprobs", rows_of(batch, gradient, record.width))


def clip_cov(record: Record) -> None:
    compare_covered(record, *share_by_mode(record))


def sapo_of(record: Record) -> SAPO:
    own = record.settings.get("sapo", record.settings)
    return SAPO(own.get("tau_pos", 1.0), own.get("tau_neg", 1.05), limit_of(record))


def sapo(record: Record) -> None:
    """verl averages over rows, whatever the record says."""
    compare_verl(record, sapo_of(record), "seq-mean-token-mean")


def eighty_twenty(record: Record) -> None:
    """Its selection becomes the mask: a token mean counts the selected tokens, a row mean those of the row. A
    mean over rows counts empty ones."""
    settings = record.settings
    mode = settings["loss_agg_mode"]
    select = TopEntropy(settings["top_ratio"] or 1e-9, "old")
    if mode == "token-mean":
        compare_loss(record, (1.0, Term(ppo_of(record), SelectedMean(), select)))
        return
    batch = batch_with(record)
    chosen = select.prepare(batch, lambda *needs: {})["top_entropy"]
    kept = record.masked(rows_of(batch, chosen.double(), record.width).numpy())
    share, scale = share_of(kept, mode)
    compare_loss(kept, (scale, Term(ppo_of(record), share)))


def prime(record: Record) -> None:
    """`adv_tau` scales advantages; IPO's threshold holds both sides; where A = 0 there is nothing to drop."""
    settings = record.settings
    batch = weighed(batch_with(record), settings.get("adv_tau", 1.0))
    limit = limit_of(record)
    if "ipo_threshold" in settings:
        both = settings["ipo_threshold"]
        part = DPPO(both, both, drift=settings.get("kl_tau", 1e-3), sides="both", limit=limit)
    else:
        bounds = settings.get("dppo_mask_low", 0.2), settings.get("dppo_mask_high", 0.2)
        part = DPPO(*bounds, drift=settings.get("kl_tau", 1e-3), limit=limit)
    compare_loss(record, (1.0, Term(part, TokenMean())), batch=batch)


def sft(record: Record) -> None:
    share, scale = share_by_mode(record)
    compare_loss(record, (scale, Term(NLL(), share)))


def aggregation(record: Record) -> None:
    """A = -1 makes the policy gradient's loss the given one."""
    mode = record.settings["loss_agg_mode"]
    share, scale = share_of(record, mode)
    batch = record.batch(advantage=-np.ones(record.mask.shape))
    now = {"logp": column_of(batch, record.inputs["loss_matrix"], record.dtype)}
    value, gradient = value_and_gradient(Term(PolicyGradient(), share), batch, now)
    record.check("loss", scale * value)
    record.check_gradient("loss_matrix", scale * rows_of(batch, gradient, record.width))


def dvo(record: Record) -> None:
    part = DVO(record.settings["beta"], record.settings["max_weight"])
    compare_loss(record, (1.0, Term(part, SequenceMean())))


ADAPTERS = {
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
    "slime.loss.policy_tokens": slime,
    "spo.loss.dvo": dvo,
    "spo.loss.policy": spo,
    "verl.loss.agg_loss": aggregation,
    "verl.loss.cispo": verl_cispo,
    "verl.loss.clip_cov": clip_cov,
    "verl.loss.geo_mean": geo_mean,
    "verl.loss.gpg": by_mode(lambda record: PolicyGradient()),
    "verl.loss.gspo": gspo,
    "verl.loss.kl_cov": kl_cov,
    "verl.loss.reinforce": reinforce,
    "verl.loss.sapo": sapo,
    "verl.loss.vanilla": verl_ppo,
}
