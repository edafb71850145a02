"""Policy losses and gradients against verl, SkyRL, TRL, OpenRLHF, ORZ, SPO, slime, ReaLHF, NeMo-RL and the authors' own codes."""

from typing import Any

import numpy as np
import pytest
import torch

from golden.records import Record, records
from menon.batch import Batch
from menon.loss import CISPO, GSPO, KL, NLL, EntropyBonus, PolicyGradient, PPOClip
from menon.loss.share import Constant, PromptMean, SelectedMean, SequenceMean, SequenceMeanTokenMean, SharePart, TokenMean
from menon.select import ProbabilityMask, TopEntropy
from menon.update.objective import AnyTerm, Term
from rows import column_of, loss_and_metrics, rows_of, value_and_gradient

DUAL = "dual clip"
CORRECTED = "corrects for a sampler that differs from the trainer"
FAR = "log-ratios beyond 20, which the peer does not clamp"
SMALL = "adds 1e-8 to the token count of each row, which a row of one token shows"
OWN_MASK = "a selection of its own"
LOSS = "another loss"


def share_of(record: Record, mode: str) -> tuple[SharePart, float]:
    """The share, and the factor to a peer's normaliser."""
    rows = int(record.mask.any(1).sum())
    size = record.settings.get("dp_size", 1)
    if mode == "token-mean":
        tokens = int(record.mask.sum())
        return TokenMean(), size * tokens / record.settings.get("batch_num_tokens", tokens)
    if mode == "seq-mean-token-sum-norm":  # verl does not divide by the number of rows
        return Constant(int(record.settings.get("loss_scale_factor") or record.width)), float(rows)
    share: SharePart = SequenceMean() if mode == "seq-mean-token-sum" else SequenceMeanTokenMean()
    return share, size * rows / record.settings.get("global_batch_size", rows)


def check(record: Record, term: AnyTerm, scale: float = 1.0, first: bool = False, **columns: Any) -> None:
    known = {"advantage": "advantages", "old_logp": "old_logprobs"}
    batch = record.batch(**{column: name for column, name in known.items() if name in record.inputs}, **columns)
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    value, gradient = value_and_gradient(term, batch, now, first)
    record.check("loss", scale * value)
    record.check_gradient("logprobs", scale * rows_of(batch, gradient, record.width))


def clip_of(record: Record, low: str, high: str) -> PPOClip:
    return PPOClip(record.settings[low], record.settings[high])


@pytest.mark.parametrize("record", records("verl.loss.vanilla", rollout_weights=CORRECTED, large_ratio=DUAL))
def test_verl(record):
    """Where its dual clip, which is always on, holds no token."""
    assert record.outputs["pg_clipfrac_lower"] == 0
    share, scale = share_of(record, record.settings["loss_agg_mode"])
    check(record, Term(clip_of(record, "clip_low", "clip_high"), share), scale)


@pytest.mark.parametrize("record", records("entropy_mechanism.loss.ppo"))
def test_entropy_mechanism(record):
    share, scale = share_of(record, record.settings["loss_agg_mode"])
    check(record, Term(clip_of(record, "clip_low", "clip_high"), share), scale)


SKYRL_CISPO = ("cispo_eps_clip_low", "cispo_eps_clip_high")
SKYRL_LATER = dict.fromkeys(("tis_token", "tis_sequence", "sequence_mask", "token_mask", "outlier_mask"), CORRECTED)


@pytest.mark.parametrize(
    "record",
    records("skyrl.loss.ppo", dual_clip=DUAL, reduction_token_mean_legacy="a mean of micro-batch means", **SKYRL_LATER),
)
def test_skyrl(record):
    """Prompts are runs of rows; row means divide by all rows."""
    rows = len(record.mask)
    group = [0] * rows
    for number, (start, end) in enumerate(record.settings["prompt_boundaries"] or []):
        group[start:end] = [number] * (end - start)
    share, scale = {
        "token_mean": (TokenMean(), 1.0),
        "sequence_mean": (SequenceMeanTokenMean(), record.share_of_filled_rows),
        "seq_mean_token_sum_norm": (Constant(record.settings["max_seq_len"]), record.share_of_filled_rows),
        "prompt_mean": (PromptMean(), 1.0),
    }[record.settings["loss_reduction"]]
    check(record, Term(clip_of(record, "eps_clip_low", "eps_clip_high"), share), scale, group=group)


@pytest.mark.parametrize(
    "record", records("openrlhf.loss.policy", dual_clip=DUAL, tis=CORRECTED, icepop=CORRECTED, seq_mask_tis=CORRECTED)
)
def test_openrlhf(record):
    clip = record.settings["clip_eps_low"], record.settings["clip_eps_high"]
    if record.variant == "gspo":
        check(record, Term(GSPO(*clip), SequenceMean()))
    else:
        share, scale = share_of(record, "token-mean" if record.settings["token_level_loss"] else "seq-mean-token-mean")
        check(record, Term(PPOClip(*clip), share), scale)


@pytest.mark.parametrize("record", records("orz.loss.policy") + records("realhf.loss.policy", n004=FAR))
def test_orz_and_realhf(record):
    share = SequenceMeanTokenMean() if record.variant == "padded" else TokenMean()
    clip = record.settings.get("clip", record.settings.get("eps_clip"))
    check(record, Term(PPOClip(clip, clip), share))


@pytest.mark.parametrize("record", records("spo.loss.policy", n005="clamps log-ratios to +-10"))
def test_spo(record):
    """The KL term is a token sum over the kept tokens, averaged over all rows."""
    settings = record.settings
    select = ProbabilityMask(settings["threshold"]) if settings["use_prob_mask"] else None
    known = {"advantage": "advantages", "old_logp": "old_logprobs", "ref_logp": "ref_logprobs"}
    batch = record.batch(**{column: name for column, name in known.items() if name in record.inputs})
    terms: list[AnyTerm] = [Term(PPOClip(settings["clip"], settings["clip"]), SelectedMean(), select)]
    if settings["kl_coef"]:
        assert settings["kl_penalty_loss_type"] == "mse"
        terms.append(Term(KL("k2"), SequenceMean(), select, settings["kl_coef"] * record.share_of_filled_rows))
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    found = [value_and_gradient(term, batch, now) for term in terms]
    record.check("loss", sum(value for value, _ in found))
    record.check_gradient("logprobs", sum(rows_of(batch, gradient, record.width) for _, gradient in found))


@pytest.mark.parametrize("record", records("verl.loss.cispo", n004=CORRECTED) + records("skyrl.loss.cispo"))
def test_cispo(record):
    """Their bounds are distances from 1."""
    settings = record.settings.get("cispo", record.settings)
    low, high = (settings[name] for name in (("clip_low", "clip_high") if "clip_low" in settings else SKYRL_CISPO))
    check(record, Term(CISPO(1 - low, 1 + high), TokenMean()))


@pytest.mark.parametrize("record", records("slime.loss.policy_tokens", dual_clip=DUAL))
def test_slime(record):
    """Unreduced losses; the gradient is that of their sum. GSPO repeats its number on each of a row's tokens."""
    clip = record.settings["eps_clip"], record.settings["eps_clip_high"]
    batch = record.batch(advantage="advantages", old_logp="old_logprobs")
    now = {"logp": column_of(batch, record.inputs["logprobs"], record.dtype)}
    losses = {"gspo": GSPO, "ppo": PPOClip}
    loss = CISPO(1 - clip[0], 1 + clip[1]) if record.variant == "cispo" else losses[record.variant](*clip)
    number = loss(now, batch)
    if record.variant == "gspo":
        total = torch.stack([part.sum() for part in number.split(batch.lengths.tolist())])
        number = torch.where(batch.trained, total.repeat_interleave(batch.lengths), 0)
    record.check("token_loss", rows_of(batch, number, record.width))
    (gradient,) = torch.autograd.grad(number.sum(), now["logp"])
    record.check_gradient("logprobs", rows_of(batch, gradient, record.width))


NEMO_LATER = dict.fromkeys(("is", "tis", "icepop", "seq_mask_tis"), CORRECTED)
NEMO_LATER |= {"dual_clip": DUAL, "kl": "its KL term adds the gradient of the sampling", "positive_nll": OWN_MASK}
NEMO_LATER |= {"n004": SMALL, "n017": SMALL}


@pytest.mark.parametrize("record", records("nemo_rl.loss.clipped_pg", **NEMO_LATER))
def test_nemo_rl(record):
    clip = record.settings["ratio_clip_min"], record.settings["ratio_clip_max"]
    tokens = int(record.mask.sum()) / record.settings["global_valid_toks"]
    rows = int(record.mask.any(1).sum()) / record.settings["global_valid_seqs"]
    term, scale = {
        "ppo_token": (Term(PPOClip(*clip), TokenMean()), tokens),
        "ppo_sequence": (Term(PPOClip(*clip), SequenceMeanTokenMean()), rows),
        "on_policy": (Term(PPOClip(*clip), TokenMean()), tokens),
        "reinforce": (Term(PolicyGradient(), TokenMean()), tokens),
        "cispo": (Term(CISPO(1 - clip[0], 1 + clip[1]), TokenMean()), tokens),
        "gspo": (Term(GSPO(*clip), SequenceMean()), rows),
    }[record.variant]
    check(record, term, scale, first=record.variant == "on_policy")


@pytest.mark.parametrize("record", records("verl.loss.gspo") + records("skyrl.loss.gspo"))
def test_gspo(record):
    names = ("clip_low", "clip_high") if "clip_low" in record.settings else ("eps_clip_low", "eps_clip_high")
    scale = record.share_of_filled_rows if "loss_reduction" in record.settings else 1.0
    check(record, Term(GSPO(*(record.settings[name] for name in names)), SequenceMean()), scale)


TRL_LATER = dict.fromkeys(("sapo", "luspo", "vespo"), LOSS) | {
    "two_sided": DUAL,
    "sequence_level": "weighs each answer by its length beside a ratio of the whole answer",
    "off_policy_mask": OWN_MASK,
    "rollout_weights": CORRECTED,
    "n004": FAR,
    "n016": FAR,
    "n020": FAR,
    "n036": "its KL term is multiplied by the ratio",
}


TRL_LEAVES = [("logp", "logprobs"), ("entropy", "entropies")]


def trl_share(record: Record) -> tuple[SharePart, float]:
    tokens = record.settings["num_items_in_batch"]
    return {
        "grpo": (SequenceMeanTokenMean(), record.share_of_filled_rows),
        "bnpo": (TokenMean(), 1.0),
        "dr_grpo": (Constant(record.settings["max_completion_length"]), record.share_of_filled_rows),
        "dapo": (TokenMean(), int(record.mask.sum()) / tokens),
        "cispo": (TokenMean(), int(record.mask.sum()) / tokens),
    }[record.settings["loss_type"]]


def trl_batch(record: Record) -> Batch:
    advantage = np.repeat(record.inputs["advantages"][:, None], record.width, axis=1)
    columns = {"old_logp": "old_logprobs", "ref_logp": "ref_logprobs", "entropy": "entropies"}
    return record.batch(advantage=advantage, **{column: name for column, name in columns.items() if name in record.inputs})


@pytest.mark.parametrize("record", records("trl.loss.grpo", **TRL_LATER) + records("trl.loss.grpo_top_entropy"))
def test_trl(record):
    """Row means divide by all rows; the entropy is always a token mean. Losses and gradients of the terms add."""
    settings = record.settings
    share, scale = trl_share(record)
    scale /= settings["gradient_accumulation_steps"] if settings["loss_type"] not in ("dapo", "cispo") else 1
    select = TopEntropy(settings["top_entropy_quantile"], "old") if settings["top_entropy_quantile"] < 1 else None
    batch = trl_batch(record)
    now = {name: column_of(batch, record.inputs[inputs], record.dtype) for name, inputs in TRL_LEAVES if inputs in record.inputs}
    cispo = settings["loss_type"] == "cispo"  # its upper bound is a ratio, and there is no lower one
    loss_part = CISPO(high=settings["epsilon_high"]) if cispo else PPOClip(settings["epsilon_low"], settings["epsilon_high"])
    terms: list[tuple[float, AnyTerm]] = [
        (scale, Term(loss_part, share, select)),
        (scale, Term(KL("k3"), share, coef=settings["beta"])),
        (1.0, Term(EntropyBonus(), TokenMean(), coef=settings["entropy_coef"])),
    ]
    terms = [(factor, term) for factor, term in terms if term.coef]
    loss = sum(factor * loss_and_metrics(term, batch, now, first=batch.old_logp is None)[0] for factor, term in terms)
    record.check("loss", float(loss.detach()))
    for name, inputs in TRL_LEAVES:
        if inputs in record.gradient:
            (gradient,) = torch.autograd.grad(loss, now[name], retain_graph=True)
            record.check_gradient(inputs, rows_of(batch, gradient, record.width))


@pytest.mark.parametrize("record", records("eighty_twenty.loss.policy"))
def test_eighty_twenty(record):
    """Its mask becomes the selection, so a token mean counts the selected tokens. Dual clip (10) holds none."""
    mode = record.settings["loss_agg_mode"]
    share, scale = (SelectedMean(), 1.0) if mode == "token-mean" else share_of(record, mode)
    term = Term(clip_of(record, "clip_low", "clip_high"), share, TopEntropy(record.settings["top_ratio"], "old"))
    check(record, term, scale, entropy="entropies")


@pytest.mark.parametrize("record", records("eighty_twenty.util.entropy_top_mask", n008="fraction 0, which is refused here"))
def test_top_entropy(record):
    batch = record.batch(entropy="entropies")
    column = TopEntropy(record.settings["top_ratio"], "old").prepare(batch, lambda *needs: {})["top_entropy"]
    record.check("mask", rows_of(batch, column.double(), record.width))


@pytest.mark.parametrize("record", records("verl.loss.gpg", n003=CORRECTED) + records("verl.loss.reinforce"))
def test_policy_gradient(record):
    share, scale = share_of(record, record.settings["loss_agg_mode"])
    check(record, Term(PolicyGradient(), share), scale)


@pytest.mark.parametrize("record", records("openrlhf.loss.sft"))
def test_nll(record):
    check(record, Term(NLL(), TokenMean() if record.settings["token_level_loss"] else SequenceMeanTokenMean()))


@pytest.mark.parametrize("record", records("verl.loss.agg_loss") + records("entropy_mechanism.loss.agg_loss"))
def test_shares(record):
    """A = -1 makes the policy gradient's loss the given one. Early verl counts empty rows."""
    share, scale = share_of(record, record.settings["loss_agg_mode"])
    if record.id.startswith("entropy_mechanism") and record.settings["loss_agg_mode"] == "seq-mean-token-sum":
        scale *= record.share_of_filled_rows
    batch = record.batch(advantage=-np.ones(record.mask.shape))
    now = {"logp": column_of(batch, record.inputs["loss_matrix"], record.dtype)}
    value, gradient = value_and_gradient(Term(PolicyGradient(), share), batch, now)
    record.check("loss", scale * value)
    record.check_gradient("loss_matrix", scale * rows_of(batch, gradient, record.width))


@pytest.mark.parametrize("record", records("verl.loss.entropy"))
def test_entropy(record):
    """The gradient goes on to the logits through the distribution's own entropy."""
    share, scale = share_of(record, record.settings["loss_agg_mode"])
    batch = record.batch()
    logits = torch.tensor(record.inputs["logits"], requires_grad=True)
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    inside = torch.arange(record.width) < torch.as_tensor(record.inputs["row_lengths"])[:, None]
    column = torch.zeros(batch.num_tokens, dtype=record.dtype).masked_scatter(batch.position > 0, entropy[inside])
    loss, _ = loss_and_metrics(Term(EntropyBonus(), share), batch, {"entropy": column})
    (gradient,) = torch.autograd.grad(-scale * loss, logits)
    record.check("loss", -scale * float(loss.detach()))
    record.check_gradient("logits", gradient)
