"""NeMo-RL's family of clipped policy losses."""

from typing import Any

from golden.adapters.losses import ppo_of
from golden.adapters.tools import NO_BOUND, batch_with, clip_of, compare_loss, limit_of
from golden.records import Record
from menon.correction.importance import Importance
from menon.correction.reject import Reject
from menon.loss import CISPO, GSPO, KL, NLL, PolicyGradient
from menon.loss.aggregation import SelectedMean, SequenceMean, SequenceMeanTokenMean, TokenMean
from menon.select import Correct
from menon.update.terms import Term


def clipped_pg(record: Record) -> None:
    """Means divide by the tokens, or by the rows, of a global batch; the KL term has the gradient of the
    sampling."""
    settings = record.settings
    tokens = int(record.mask.sum()) / settings["global_valid_toks"]
    rows = int(record.filled.sum()) / settings["global_valid_seqs"]
    share, scale = (TokenMean(), tokens) if settings["token_level_loss"] else (SequenceMeanTokenMean(), rows)
    low, high = clip_of(record)
    part: Any = ppo_of(record)
    if settings.get("use_cispo"):
        part = CISPO(1 - low, 1 + high, limit_of(record))
    elif settings.get("disable_ppo_ratio"):
        part = PolicyGradient()
    elif settings.get("sequence_level_importance_ratios"):
        part, share = GSPO(low, high, limit=limit_of(record)), SequenceMean()  # type: ignore[assignment]
    terms = [(scale, Term(part, share, correction=correction_of(record)))]
    batch = batch_with(record)
    if settings["reference_policy_kl_penalty"]:
        kl = KL(settings.get("reference_policy_kl_type", "k3"), weigh="current")
        terms.append((scale, Term(kl, share, coef=settings["reference_policy_kl_penalty"])))
    if settings.get("positive_example_nll_weight"):
        batch = batch_with(record, acc=(record.inputs["rewards"] > 0).astype(float))
        terms.append((float(settings["positive_example_nll_weight"]), Term(NLL(), SelectedMean(), Correct())))
    compare_loss(record, *terms, first=bool(settings.get("force_on_policy_ratio")), batch=batch)


def correction_of(record: Record) -> tuple[Any, ...]:
    settings = record.settings
    if not settings.get("use_importance_sampling_correction"):
        return ()
    high, low = (
        settings.get("truncated_importance_sampling_ratio"),
        settings.get("truncated_importance_sampling_ratio_min", 0.0),
    )
    return {
        None: (Importance(high=NO_BOUND),),
        "tis": (Importance(high=high or NO_BOUND),),
        "icepop": (Importance(outside="drop", low=low, high=high or NO_BOUND),),
        "seq-mask-tis": (Importance(high=NO_BOUND), Reject(high or NO_BOUND, low)),
    }[settings.get("truncated_importance_sampling_type")]


ADAPTERS = {"nemo_rl.loss.clipped_pg": clipped_pg}
