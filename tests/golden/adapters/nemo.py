"""NeMo-RL's family of clipped policy losses."""

from typing import Any

from golden.adapters.losses import bound_of, ppo_of
from golden.adapters.tools import NO_BOUND, Scaled, batch_with, clip_of, compare_loss, limit_of
from golden.records import Record
from menon.correction.importance import Importance
from menon.correction.reject import Reject
from menon.loss import CISPO, GSPO, KL, NLL, PolicyGradient, Surrogate
from menon.loss.aggregation import (
    AggregationPart,
    SelectedMean,
    SequenceMean,
    SequenceMeanTokenMean,
    TokenMean,
)
from menon.select import Correct
from menon.update.terms import Term


def clipped_pg(record: Record) -> None:
    """Means divide by the tokens, or by the rows, of a global batch."""
    settings = record.settings
    share: AggregationPart = TokenMean()
    scale = int(record.mask.sum()) / settings["global_valid_toks"]
    if not settings.get("token_level_loss", True):
        share, scale = SequenceMeanTokenMean(), int(record.filled.sum()) / settings["global_valid_seqs"]
    part = part_of(record)
    own = SequenceMean() if isinstance(part, GSPO) else share
    terms: list[Scaled] = [(scale, Term(part, own, correction=correction_of(record)))]
    penalty = settings.get("reference_policy_kl_penalty", 0.01)
    if penalty and not settings.get("use_kl_in_reward", False):
        terms.append((scale, Term(kl_of(record), share, coef=penalty)))
    batch = batch_with(record)
    weight = settings.get("positive_example_nll_weight", 0.0)
    if weight and "rewards" in record.inputs:
        batch = batch_with(record, acc=(record.inputs["rewards"] > 0).astype(float))
        terms.append((float(weight), Term(NLL(), SelectedMean(), Correct())))
    first = bool(settings.get("force_on_policy_ratio", False))
    compare_loss(record, *terms, first=first, batch=batch)


def part_of(record: Record) -> Any:
    settings, (low, high), limit = record.settings, clip_of(record), limit_of(record)
    if settings.get("force_on_policy_ratio", False):
        return Surrogate()
    if settings.get("use_cispo", False):
        return CISPO(1 - low, 1 + high, limit)
    if settings.get("disable_ppo_ratio", False):
        return PolicyGradient()
    if settings.get("sequence_level_importance_ratios", False):
        return GSPO(low, high, limit=limit, bound=bound_of(record))
    return ppo_of(record)


def kl_of(record: Record) -> KL:
    """Its term has the gradient of what is sampled, or is weighed by the ratio to the sampler. It clamps k
    for every estimator; for k1 and k2 that is a clamp of the result, unless a ratio other than 1 comes
    between."""
    settings = record.settings
    kind: Any = settings.get("reference_policy_kl_type", "k3")
    weigh: Any = "behaviour" if settings.get("use_on_policy_kl_approximation", False) else "current"
    inner, outer = settings.get("kl_input_clamp_value", 20.0), settings.get("kl_output_clamp_value", 10.0)
    if weigh == "behaviour" and kind != "k3" and inner is not None:
        k = (record.inputs["logprobs"] - record.inputs["ref_logprobs"])[record.mask > 0]
        if (abs(k) > inner).any():
            record.facts.add("a clamp within a weighed estimate")
        inner = None
    return held(kind, weigh, inner, outer)


def held(kind: Any, weigh: Any, inner: float | None, outer: float | None) -> KL:
    """A KL whose log-ratio and result are clamped; None is no clamp."""
    most = NO_BOUND if outer is None else outer
    if kind == "k3":
        return KL(kind, weigh, 80.0 if inner is None else min(inner, 80.0), most)
    if inner is not None:
        most = min(most, inner**2 / 2 if kind == "k2" else inner)
    return KL(kind, weigh, most=most)


def correction_of(record: Record) -> tuple[Any, ...]:
    settings = record.settings
    if not settings.get("use_importance_sampling_correction", False):
        return ()
    level: Any = "sequence" if settings.get("sequence_level_importance_ratios", False) else "token"
    high, low = (
        settings.get("truncated_importance_sampling_ratio"),
        settings.get("truncated_importance_sampling_ratio_min"),
    )
    raw = Importance(level, high=NO_BOUND)
    if high is None:
        return (raw,)
    return {
        None: (raw,),
        "tis": (Importance(level, low=low or 0.0, high=high),),
        "icepop": (Importance(level, "drop", low or 0.0, high),),
        "seq-mask-tis": (raw, Reject(high, low or 0.0)),
    }[settings.get("truncated_importance_sampling_type")]


ADAPTERS = {"nemo_rl.loss.clipped_pg": clipped_pg}
