"""Losses over pairs and labelled answers, reward models, and the supervised loss beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from golden.adapters.entropy import columns_of_logits
from golden.records import Record
from menon import ragged
from menon.batch import Batch
from menon.loss import CDPO, CPO, DPO, IPO, KTO, NLL, ORPO, BradleyTerry, RobustDPO, SimPO, SLiC
from menon.loss.aggregation import PairMean, PairMeanTokenMean, SelectedMean, SequenceMean
from menon.select import Correct
from menon.update.host import Ask, ModelHost
from menon.update.objective import Micro, loss_of, prepare
from menon.update.terms import AnyTerm, MiniBatch, Term, Update
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient

ANOTHER = "a loss that is not built here"


def loss_for(record: Record) -> Any:
    """Our part for a record of whole answers."""
    settings = record.settings
    beta, smoothing = settings.get("beta", 0.1), settings.get("label_smoothing", 0)
    if settings.get("ipo", False):
        return IPO(beta)
    if settings.get("loss_type") == "ipo":
        return IPO(beta, average=record.function.startswith("areal"))
    if settings.get("loss_type") == "hinge":
        return SLiC(beta)
    if settings.get("loss_type") == "simpo":
        if settings["alpha"] != 0:
            record.facts.add(ANOTHER)
        return SimPO(beta, settings["simpo_gamma"])
    if record.function == "trl.loss.cpo_simpo" and not smoothing:
        return CPO(beta)
    return CDPO(beta, smoothing) if smoothing else DPO(beta)


def pairs(count: int) -> dict[str, Any]:
    """All chosen ones first."""
    return {"pair": [*range(count)] * 2, "acc": [1.0] * count + [0.0] * count}


def whole_answers(record: Record) -> None:
    """One row per answer, all chosen ones first; a whole answer's log-prob lies on its first token, and the
    others, where lengths are given, have 0."""
    inputs, count = record.inputs, len(record.inputs["policy_chosen_logps"])
    length = np.ones(2 * count, dtype=int)
    if "chosen_lengths" in inputs:
        length = np.concatenate([inputs["chosen_lengths"], inputs["rejected_lengths"]]).astype(int)
    mask = np.arange(length.max()) < length[:, None]
    policy = on_first(mask, inputs["policy_chosen_logps"], inputs["policy_rejected_logps"])
    reference = np.zeros_like(policy)
    if "reference_chosen_logps" in inputs and not record.settings.get("reference_free"):
        reference = on_first(mask, inputs["reference_chosen_logps"], inputs["reference_rejected_logps"])
    batch = batch_of(mask, ref_logp=reference, dtype=record.dtype, **pairs(count))
    term = Term(loss_for(record), PairMean())
    now = {"logp": column_of(batch, policy, record.dtype)}
    value, gradient = value_and_gradient(term, batch, now)
    record.check("loss", value)
    check_each(record, term, batch, now)
    check_metrics(record, term, batch, now)
    rows = rows_of(batch, gradient)[:, 0]
    record.check_gradient("policy_chosen_logps", rows[:count])
    record.check_gradient("policy_rejected_logps", rows[count:])


def on_first(mask: np.ndarray, *totals: np.ndarray) -> np.ndarray:
    """[S, T] a row's total on its first token."""
    return np.where(np.arange(mask.shape[1]) == 0, np.concatenate(totals)[:, None], 0)


def check_each(record: Record, term: AnyTerm, batch: Batch, now: dict[str, Tensor]) -> None:
    """The loss of each pair, where the record has it."""
    if "losses" in record.outputs:
        each = rows_of(batch, term.loss(now, batch)).sum(1)
        record.check("losses", each[: len(each) // 2])


def check_metrics(record: Record, term: AnyTerm, batch: Batch, now: dict[str, Tensor]) -> None:
    """Rewards, as far as the record has them, with an accuracy in single precision. Ours are those of the
    loss: means over an answer give others, and so does a loss without a reference."""
    if getattr(term.loss, "average", False) or record.settings.get("reference_free"):
        return
    found = loss_and_metrics(term, batch, now)[1]
    named = {
        "rewards_margin": "pairs/margin",
        "rewards_accuracy": "pairs/accuracy",
        "chosen_rewards": "pairs/chosen_reward",
        "rejected_rewards": "pairs/rejected_reward",
        "chosen_reward_sum": "pairs/chosen_reward",
        "rejected_reward_sum": "pairs/rejected_reward",
    }
    for name in named.keys() & record.outputs.keys():
        expected = np.asarray(record.outputs[name], dtype=np.float64)
        actual = float(found[named[name]]) * (batch.num_sequences / 2 if name.endswith("_sum") else 1)
        record.check_part(name, expected.mean(), np.float32(actual) if "accuracy" in name else actual)


def nemo(record: Record) -> None:
    """Rows alternate between chosen and rejected. The supervised term is on the chosen ones: their sums, or
    means, of -log p."""
    settings, count = record.settings, len(record.mask) // 2
    batch = record.batch(
        ref_logp="per_token_ref_logprobs", pair=np.repeat(np.arange(count), 2), acc=[1.0, 0.0] * count
    )
    now = {"logp": column_of(batch, record.inputs["per_token_logprobs"], record.dtype)}
    part = DPO(settings["beta"], average=settings["preference_average_log_probs"])
    terms = [(settings.get("preference_loss_weight", 1.0), Term(part, PairMean()))]
    if settings.get("sft_loss_weight", 0.0):
        share = PairMeanTokenMean() if settings.get("sft_average_log_probs", False) else PairMean()
        terms.append((settings["sft_loss_weight"], Term(NLL(), share, Correct())))
    loss = sum(scale * loss_and_metrics(term, batch, now)[0] for scale, term in terms)
    record.check("loss", float(loss.detach()))
    (gradient,) = torch.autograd.grad(loss, now["logp"])
    record.check_gradient("per_token_logprobs", rows_of(batch, gradient, record.width))


def trl(record: Record) -> None:
    """Rows 0 to n-1 are chosen; a row's reference log-prob lies on its last token."""
    mask = record.mask
    if "logits" in record.inputs:
        mask = record.inputs["completion_mask"][:, 1:]
    count = len(mask) // 2
    reference = np.zeros(mask.shape)
    totals = [record.inputs[f"reference_{side}_logps"] for side in ("chosen", "rejected")]
    reference[np.arange(2 * count), [int(np.flatnonzero(row)[-1]) for row in mask]] = np.concatenate(totals)
    given = {"ref_logp": reference, "group": np.arange(2 * count), "dtype": record.dtype} | pairs(count)
    batch = batch_of(mask, lengths=[mask.shape[1]] * len(mask), **given)
    if "logits" in record.inputs:
        return with_logits(record, batch)
    now = {"logp": column_of(batch, record.inputs["per_token_logprobs"], record.dtype)}
    ((scale, term),) = trl_terms(record)
    if isinstance(term.loss, KTO):
        loss, _ = with_kl(term, batch, now, 0, 0)
    else:
        loss = loss_and_metrics(term, batch, now)[0]
        check_metrics(record, term, batch, now)
    record.check("loss", scale * float(loss.detach()))
    (gradient,) = torch.autograd.grad(loss, now["logp"])
    record.check_gradient("per_token_logprobs", scale * rows_of(batch, gradient, record.width))
    return None


def with_logits(record: Record, batch: Batch) -> None:
    record.inputs["per_token_logprobs"]  # the same numbers
    logits = torch.tensor(record.inputs["logits"], requires_grad=True)
    now = columns_of_logits(batch, logits[:, :-1], record.inputs["input_ids"][:, 1:], ("logp",))
    loss = sum(scale * loss_and_metrics(term, batch, now)[0] for scale, term in trl_terms(record))
    record.check("loss", float(loss.detach()))
    (gradient,) = torch.autograd.grad(loss, logits)
    record.check_gradient("logits", gradient)


def trl_terms(record: Record) -> list[tuple[float, AnyTerm]]:
    """TRL's losses, weighed. For those that are not built here, DPO."""
    settings = record.settings
    beta, smoothing = settings["beta"], settings["label_smoothing"]
    known: dict[str, tuple[float, AnyTerm]] = {
        "sigmoid": (1, Term(DPO(beta), PairMean())),
        "sigmoid_norm": (1, Term(DPO(beta, average=True), PairMean())),
        "hinge": (1, Term(SLiC(beta), PairMean())),
        "ipo": (1, Term(IPO(beta, average=True), PairMean())),
        "robust": (1, Term(RobustDPO(beta, smoothing), PairMean())),
        # Both answers of a pair labelled, and the KL taken for 0: a sum over the two, where KTO's is a mean.
        "apo_zero": (2, Term(KTO(beta), SequenceMean())),
        "sft": (1, Term(NLL(), SelectedMean(), Correct())),
    }
    special = settings["f_divergence_type"] != "reverse_kl", settings["ld_alpha"], settings["use_weighting"]
    kinds = settings["loss_types"]
    if any(special) or not known.keys() >= set(kinds):
        record.facts.add(ANOTHER)
    weighed = zip(kinds, settings["loss_weights"], strict=True)
    found = [(weight, *known.get(kind, known["sigmoid"])) for kind, weight in weighed]
    return [(weight * scale, term) for weight, scale, term in found]


@dataclass(frozen=True)
class Totals:
    """A host that scores the answers after other prompts: one number for each, on its last token."""

    policy: Any
    reference: Any
    roles: frozenset[str] = frozenset({"policy", "reference"})

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        (ask,) = asks
        total = torch.as_tensor(self.reference if ask.role == "reference" else self.policy)
        column = batch.reward.clone()
        column[ragged.last(batch.is_action, batch.offset)] = total.to(column)
        return {"logp": column}


def with_kl(term: AnyTerm, batch: Batch, now: dict[str, Tensor], policy: Any, reference: Any) -> Any:
    """Loss and metrics of an update whose answers after other prompts have these log-probs."""
    part = MiniBatch(Update({"term": term}), torch.arange(batch.num_sequences), False)
    job = prepare(part, batch, cast(ModelHost, Totals(policy, reference)))
    return loss_of(now, Micro(job.batch, job.terms))


def kto(record: Record) -> None:
    """Each answer is of a question of its own. Without the log-probs of the KL it is taken for 0."""
    inputs, settings = record.inputs, record.settings
    count = len(inputs["policy_logps"])
    columns = {"ref_logp": inputs["reference_logps"][:, None], "acc": inputs["label"].astype(float)}
    batch = batch_of(np.ones((count, 1)), group=range(count), dtype=record.dtype, **columns)
    now = {"logp": column_of(batch, inputs["policy_logps"][:, None], record.dtype)}
    weights = settings["desirable_weight"], settings["undesirable_weight"]
    totals = [inputs.get(name, 0) for name in ("policy_KL_logps", "reference_KL_logps")]
    term = Term(KTO(settings["beta"], *weights), SequenceMean())
    loss, metrics = with_kl(term, batch, now, *totals)
    record.check("loss", float(loss.detach()))
    record.check("kl", float(metrics["kto/kl"]))
    (gradient,) = torch.autograd.grad(loss, now["logp"])
    record.check_gradient("policy_logps", rows_of(batch, gradient)[:, 0])


def orpo(record: Record) -> None:
    """An answer's mean log-prob is that of its one token."""
    both = [record.inputs[f"{side}_avg_logps"] for side in ("chosen", "rejected")]
    count = len(both[0])
    batch = batch_of(np.ones((2 * count, 1)), dtype=record.dtype, **pairs(count))
    now = {"logp": column_of(batch, np.concatenate(both)[:, None], record.dtype)}
    term = Term(ORPO(record.settings["beta"]), PairMean())
    value, gradient = value_and_gradient(term, batch, now)
    record.check("loss", value)
    record.check("odds_term", -rows_of(batch, term.loss(now, batch))[:count, 0])
    rows = rows_of(batch, gradient)[:, 0]
    record.check_gradient("chosen_avg_logps", rows[:count])
    record.check_gradient("rejected_avg_logps", rows[count:])


def reward_model(record: Record) -> None:
    """A margin of each pair is taken off the preferred score, which is the same but for the centring: that is
    the difference between a loss with it and one without."""
    inputs, centring = record.inputs, record.settings.get("center_rewards_coefficient") or 0
    chosen, rejected = inputs["chosen_reward"], inputs["rejected_reward"]
    count = len(chosen)
    batch = batch_of(np.ones((2 * count, 1)), dtype=record.dtype, **pairs(count))
    score = column_of(batch, np.concatenate([chosen, rejected])[:, None], record.dtype)
    margin = np.concatenate([inputs.get("margin", np.zeros(count)), np.zeros(count)])[:, None]
    behind = score - torch.nan_to_num(column_of(batch, margin, record.dtype).detach())

    def loss(centring: float, scores: Tensor) -> Tensor:
        term = Term(BradleyTerry(centring=centring), PairMean())
        return loss_and_metrics(term, batch, {"reward_after": scores})[0]

    total = loss(0, behind) + loss(centring, score) - loss(0, score)
    record.check("loss", float(total.detach()))
    (gradient,) = torch.autograd.grad(total, score)
    rows = rows_of(batch, gradient)[:, 0]
    record.check_gradient("chosen_reward", rows[:count])
    record.check_gradient("rejected_reward", rows[count:])


def row_logps(record: Record) -> None:
    """Sums, or means, of the log-probs that a forward pass makes of logits."""
    labels = record.inputs["labels"]
    logits = torch.tensor(record.inputs["logits"], requires_grad=True)
    mask = labels[:, 1:] != -100
    batch = batch_of(mask, lengths=[mask.shape[1]] * len(mask), dtype=record.dtype)
    columns = columns_of_logits(batch, logits[:, :-1], np.where(mask, labels[:, 1:], 0), ("logp",))
    total = ragged.sequence_sum(columns["logp"], batch.offset)
    total = total / batch.action_lengths if record.settings.get("average", False) else total
    record.check("logps", total.detach())
    (gradient,) = torch.autograd.grad(total.sum(), logits)
    record.check_gradient("logits", gradient)


ADAPTERS = {
    "areal.loss.dpo": whole_answers,
    "dpo_reference.loss.preference": whole_answers,
    "dpo_reference.util.sequence_logps": row_logps,
    "nemo_rl.loss.dpo": nemo,
    "openrlhf.loss.dpo": whole_answers,
    "openrlhf.loss.reward_model": reward_model,
    "realhf.loss.dpo": whole_answers,
    "trl.loss.cpo_simpo": whole_answers,
    "trl.loss.dpo": trl,
    "trl.loss.kto": kto,
    "trl.loss.orpo": orpo,
    "trl.loss.reward_model": reward_model,
}
