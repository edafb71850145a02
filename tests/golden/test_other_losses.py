"""KL estimators, value losses and DPO against their peers, with gradients."""

import numpy as np
import pytest
import torch

from golden.records import Record, records
from menon.loss import DPO, KL, ValueLoss
from menon.loss.share import Constant, PairMean, SequenceMeanTokenMean, TokenMean
from menon.update.objective import Term
from rows import batch_of, column_of, rows_of, value_and_gradient

ESTIMATORS = {"kl": "k1", "mse": "k2", "low_var_kl": "k3", "control_variate": "k3"}
BOUND = "clamps this estimator to +-10 too; here only k3 is clamped"
LOOSE = "no clamp of the result, or another; here k3 is at most 10"
KL_CASES = [
    case
    for peer, left_out in {
        "verl": {},
        "skyrl": {},
        "openrlhf": {"n002": BOUND, "n004": BOUND},
        "areal": {"n002": BOUND, "n004": BOUND},
        "orz": {},
        "slime": {"n006": LOOSE},
        "spo": {"n008": LOOSE},
        "nemo_rl": {"n002": BOUND},
    }.items()
    for case in records(f"{peer}.kl_penalty", **left_out)
]
OTHER = "another loss than DPO's"


@pytest.mark.parametrize("record", KL_CASES)
def test_kl(record):
    estimator = KL(ESTIMATORS.get(record.variant, record.variant))
    batch = record.batch(ref_logp="ref_logprobs")
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    value = estimator(now, batch)
    record.check("kl", rows_of(batch, value, record.width))
    if record.gradient:
        (gradient,) = torch.autograd.grad(value.sum(), now["logp"])
        record.check_gradient("logprobs", rows_of(batch, gradient, record.width))


CLIP_NAMES = ("cliprange_value", "value_clip", "clip_eps", "cliprange", "value_eps_clip")
ROWS = ("skyrl", "orz")
HUBER = "Huber instead of the square"


@pytest.mark.parametrize(
    "record",
    [
        case
        for peer in ("verl", "skyrl", "openrlhf", "nemo_rl", "orz", "spo", "realhf", "areal")
        for case in records(f"{peer}.loss.value", huber=HUBER)
    ],
)
def test_value_loss(record):
    clip = next(record.settings[name] for name in CLIP_NAMES if name in record.settings)
    by_rows = record.id.split(".")[0] in ROWS or record.settings.get("token_level_loss") is False
    share, scale = (SequenceMeanTokenMean(), record.share_of_filled_rows) if by_rows else (TokenMean(), 1.0)
    if record.settings.get("loss_agg_mode") == "seq-mean-token-sum-norm":
        share, scale = Constant(record.width), float(record.mask.any(1).sum())
    batch = record.batch(value="old_values", ret="returns")
    now = {"value": column_of(batch, record.inputs["values"], record.dtype)}
    value, gradient = value_and_gradient(Term(ValueLoss(clip), share), batch, now)
    record.check("loss", scale * value)
    record.check_gradient("values", scale * rows_of(batch, gradient, record.width))


def dpo_of(record: Record) -> DPO:
    return DPO(beta=record.settings["beta"], label_smoothing=record.settings.get("label_smoothing", 0))


def pairs_of_rows(chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    """One row per answer, all chosen ones first; a whole answer's log-prob lies on its one token."""
    return np.concatenate([chosen, rejected])[:, None]


@pytest.mark.parametrize(
    "record",
    records("dpo_reference.loss.preference", ipo=OTHER) + records("openrlhf.loss.dpo", ipo=OTHER) + records("realhf.loss.dpo"),
)
def test_dpo_on_whole_answers(record):
    inputs, count = record.inputs, len(record.inputs["policy_chosen_logps"])
    reference = pairs_of_rows(inputs["reference_chosen_logps"], inputs["reference_rejected_logps"])
    if record.settings.get("reference_free"):
        reference = np.zeros_like(reference)
    mask = np.ones((2 * count, 1))
    pair, acc = [*range(count)] * 2, [1.0] * count + [0.0] * count
    batch = batch_of(mask, ref_logp=reference, pair=pair, acc=acc, dtype=record.dtype)
    policy = pairs_of_rows(inputs["policy_chosen_logps"], inputs["policy_rejected_logps"])
    now = {"logp": column_of(batch, policy, record.dtype)}
    value, gradient = value_and_gradient(Term(dpo_of(record), PairMean()), batch, now)
    record.check("loss", value)
    rows = rows_of(batch, gradient)[:, 0]
    record.check_gradient("policy_chosen_logps", rows[:count])
    record.check_gradient("policy_rejected_logps", rows[count:])


@pytest.mark.parametrize("record", records("nemo_rl.loss.dpo", average="averages log-probs over tokens, which is not DPO's loss"))
def test_dpo_on_tokens_nemo_rl(record):
    """Rows alternate between chosen and rejected."""
    count = len(record.mask) // 2
    batch = record.batch(ref_logp="per_token_ref_logprobs", pair=np.repeat(np.arange(count), 2), acc=[1.0, 0.0] * count)
    now = {"logp": column_of(batch, record.inputs["per_token_logprobs"], record.dtype)}
    value, gradient = value_and_gradient(Term(dpo_of(record), PairMean()), batch, now)
    record.check("loss", value)
    record.check_gradient("per_token_logprobs", rows_of(batch, gradient, record.width))


def plain_trl() -> list:
    """Of TRL's many losses, the one that is DPO's."""
    return [case for case in records("trl.loss.dpo") if case.values[0] is None or case.values[0].variant == "sigmoid"]


@pytest.mark.parametrize("record", plain_trl())
def test_dpo_on_tokens_trl(record):
    """Rows 0 to n-1 are chosen; a row's reference log-prob lies on its last token."""
    count = len(record.mask) // 2
    reference = np.zeros(record.mask.shape)
    totals = np.concatenate([record.inputs["reference_chosen_logps"], record.inputs["reference_rejected_logps"]])
    reference[np.arange(2 * count), [int(np.flatnonzero(row)[-1]) for row in record.mask]] = totals
    batch = record.batch(ref_logp=reference, pair=[*range(count)] * 2, acc=[1.0] * count + [0.0] * count)
    now = {"logp": column_of(batch, record.inputs["per_token_logprobs"], record.dtype)}
    value, gradient = value_and_gradient(Term(dpo_of(record), PairMean()), batch, now)
    record.check("loss", value)
    record.check_gradient("per_token_logprobs", rows_of(batch, gradient, record.width))
