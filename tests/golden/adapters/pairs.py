"""DPO, on whole answers and on tokens, and the supervised loss."""

import numpy as np
import torch

from golden.adapters.entropy import columns_of_logits
from golden.records import Record
from menon import ragged
from menon.loss import DPO, NLL
from menon.loss.aggregation import PairMean, SequenceMean, SequenceMeanTokenMean
from menon.select import Correct
from menon.update.terms import Term
from rows import batch_of, column_of, loss_and_metrics, rows_of, value_and_gradient


def dpo_of(record: Record) -> Term:
    part = DPO(record.settings.get("beta", 0.1), record.settings.get("label_smoothing", 0))
    return Term(part, PairMean())


def whole_answers(record: Record) -> None:
    """One row per answer, all chosen ones first; a whole answer's log-prob lies on its one token."""
    inputs, count = record.inputs, len(record.inputs["policy_chosen_logps"])
    policy = np.concatenate([inputs["policy_chosen_logps"], inputs["policy_rejected_logps"]])[:, None]
    reference = np.zeros_like(policy)
    if not record.settings.get("reference_free"):
        reference = np.concatenate([inputs["reference_chosen_logps"], inputs["reference_rejected_logps"]])[
            :, None
        ]
    pair, acc = [*range(count)] * 2, [1.0] * count + [0.0] * count
    batch = batch_of(np.ones((2 * count, 1)), ref_logp=reference, pair=pair, acc=acc, dtype=record.dtype)
    value, gradient = value_and_gradient(
        dpo_of(record), batch, {"logp": column_of(batch, policy, record.dtype)}
    )
    record.check("loss", value)
    rows = rows_of(batch, gradient)[:, 0]
    record.check_gradient("policy_chosen_logps", rows[:count])
    record.check_gradient("policy_rejected_logps", rows[count:])


def nemo(record: Record) -> None:
    """Rows alternate between chosen and rejected. The supervised term is on the chosen ones: their sums, or
    means, of -log p."""
    settings, count = record.settings, len(record.mask) // 2
    pairs = {"pair": np.repeat(np.arange(count), 2), "acc": [1.0, 0.0] * count}
    batch = record.batch(ref_logp="per_token_ref_logprobs", **pairs)
    now = {"logp": column_of(batch, record.inputs["per_token_logprobs"], record.dtype)}
    terms = [(settings.get("preference_loss_weight", 1.0), dpo_of(record))]
    if settings.get("sft_loss_weight", 0.0):
        share = SequenceMeanTokenMean() if settings.get("sft_average_log_probs", False) else SequenceMean()
        # Ours is a mean over all rows with tokens, theirs over the chosen ones.
        rows = float(record.filled.sum()) / count
        terms.append((settings["sft_loss_weight"] * rows, Term(NLL(), share, Correct())))
    loss = sum(scale * loss_and_metrics(term, batch, now)[0] for scale, term in terms)
    record.check("loss", float(loss.detach()))
    (gradient,) = torch.autograd.grad(loss, now["logp"])
    record.check_gradient("per_token_logprobs", rows_of(batch, gradient, record.width))


def trl(record: Record) -> None:
    """Rows 0 to n-1 are chosen; a row's reference log-prob lies on its last token."""
    count = len(record.mask) // 2
    weight = record.settings.get("loss_weights", [1])[0]
    reference = np.zeros(record.mask.shape)
    totals = np.concatenate(
        [record.inputs["reference_chosen_logps"], record.inputs["reference_rejected_logps"]]
    )
    reference[np.arange(2 * count), [int(np.flatnonzero(row)[-1]) for row in record.mask]] = totals
    batch = record.batch(ref_logp=reference, pair=[*range(count)] * 2, acc=[1.0] * count + [0.0] * count)
    now = {"logp": column_of(batch, record.inputs["per_token_logprobs"], record.dtype)}
    value, gradient = value_and_gradient(dpo_of(record), batch, now)
    record.check("loss", weight * value)
    record.check_gradient("per_token_logprobs", weight * rows_of(batch, gradient, record.width))


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
    "dpo_reference.loss.preference": whole_answers,
    "dpo_reference.util.sequence_logps": row_logps,
    "nemo_rl.loss.dpo": nemo,
    "openrlhf.loss.dpo": whole_answers,
    "realhf.loss.dpo": whole_answers,
    "trl.loss.dpo": trl,
}
