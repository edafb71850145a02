"""Distillation: TRL's generalised JSD, NeMo-RL's on the teacher's likeliest tokens, prime-rl's policy
gradient, the advantages of MiniLLM."""

from dataclasses import replace

import torch
from torch import Tensor

from golden.adapters.tools import NO_BOUND, batch_with, check_advantages, compare_loss, limit_of, run
from golden.records import Record
from menon.advantage import Teacher
from menon.batch import Batch
from menon.loss import DPPO, Distill
from menon.loss.aggregation import TokenMean
from menon.update.terms import Term
from rows import loss_and_metrics


def compare_divergence(record: Record, scale: float, *parts: tuple[float, Distill]) -> None:
    """The weighed sum of our losses on the record's logits, as means over its tokens, and its gradient."""
    batch = record.batch()
    policy = torch.tensor(record.inputs["student_logits"], dtype=record.dtype, requires_grad=True)
    teacher = torch.tensor(record.inputs["teacher_logits"], dtype=record.dtype)
    total = policy.sum() * 0
    for weight, part in parts:
        column = of_rows(batch, part.between(policy, teacher))
        total = (
            total + scale * weight * loss_and_metrics(Term(part, TokenMean()), batch, {repr(part): column})[0]
        )
    record.check("loss", float(total.detach()))
    (gradient,) = torch.autograd.grad(total, policy)
    record.check_gradient("student_logits", gradient)


def of_rows(batch: Batch, rows: Tensor) -> Tensor:
    """[S, T] -> [N], NaN on prompts, through which gradients flow."""
    inside = torch.arange(rows.shape[1]) < (batch.lengths - 1)[:, None]
    column = torch.full((batch.num_tokens,), torch.nan, dtype=rows.dtype)
    return column.masked_scatter(batch.position > 0, rows[inside])


def gkd(record: Record) -> None:
    """A sum, or one divided by a count that is given, is a mean times a number of tokens."""
    settings, tokens = record.settings, float(record.mask.sum())
    part = Distill("jsd", settings["beta"], settings["temperature"])
    scale = {"batchmean": 1.0, "sum": tokens}[settings["reduction"]]
    if settings["num_items_in_batch"] is not None:
        scale = tokens / settings["num_items_in_batch"]
    compare_divergence(record, scale, (1.0, part))


def top_k(record: Record) -> None:
    """`zero_outside_topk` leaves the rest out of the teacher's distribution alone. Its reverse KL, infinite
    then, is held by a probability of e^-100; ours is compared with a bucket."""
    settings = record.settings
    record.inputs["teacher_topk_indices"]  # those of its logits
    weight = settings["mixed_kl_weight"]
    forward, reverse = (weight, 1 - weight) if settings["kl_type"] == "mixed" else (1.0, 1.0)
    cut = settings["zero_outside_topk"]
    if cut and settings["kl_type"] != "forward":
        record.facts.add("a reverse KL from nothing")
    k = settings["k"]
    parts = [
        (forward, Distill("forward", top_k=k, rest="zero" if cut else "renormalise")),
        (reverse, Distill("reverse", top_k=k, rest="bucket" if cut else "renormalise")),
    ]
    chosen = {"forward": parts[:1], "reverse": parts[1:], "mixed": parts}[settings["kl_type"]]
    compare_divergence(record, 1.0, *chosen)


def prime(record: Record) -> None:
    """The log-ratio is that of the policy as it is now; tokens whose probability fell too far are left out,
    whatever their advantage."""
    settings = record.settings
    batch = batch_with(record, teacher_logp="ref_logprobs", old_logp="logprobs")
    batch = replace(run(batch, Teacher()), old_logp=None)
    part = DPPO(settings["mask_low"], NO_BOUND, settings["kl_tau"], "both", limit=limit_of(record))
    compare_loss(record, (1.0, Term(part, TokenMean())), batch=batch)


def minillm(record: Record) -> None:
    """Its discount counts from the first token: gamma^t times ours."""
    gamma = record.settings["gamma"]
    if record.settings["length_normalization"]:
        record.facts.add("a mean over the tokens that follow")
    batch = record.batch(teacher_logp="teacher_logprobs", old_logp="student_logprobs")
    batch = run(batch, Teacher(gamma=gamma))
    assert batch.advantage is not None
    if gamma:
        batch = replace(batch, advantage=batch.advantage * gamma ** (batch.position - 1).clamp(min=0))
    check_advantages(record, batch)


ADAPTERS = {
    "nemo_rl.loss.distillation_topk": top_k,
    "prime_rl.loss.ref_kl": prime,
    "trl.advantage.minillm": minillm,
    "trl.loss.gkd_jsd": gkd,
}
