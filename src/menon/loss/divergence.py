"""Divergences of next-token distributions, over the vocabulary or over a teacher's likeliest tokens."""

import math
from typing import Literal

import torch
from torch import Tensor

from menon.errors import UserError

Rest = Literal["bucket", "renormalise", "zero"]


def check(temperature: float, beta: float, top_k: int, rest: Rest, share: float) -> None:
    """UserError for settings of Distill out of range, and for a teacher without probability where the policy
    has some in a reverse KL (`share` 1)."""
    if temperature <= 0 or not 0 <= beta <= 1 or top_k < 0:
        raise UserError(
            f"temperature {temperature:g} of Distill must be positive, beta {beta:g} between 0 and 1, and "
            f"top_k {top_k} 0 or positive"
        )
    if top_k and rest == "zero" and share == 1:
        raise UserError(
            "rest=zero of Distill gives most tokens no probability under the teacher, so the reverse KL "
            "is infinite; set rest=bucket, or another divergence"
        )


def compared(policy: Tensor, teacher: Tensor, top_k: int, rest: Rest) -> tuple[Tensor, Tensor]:
    """Logits [n, V] and [n, W] -> log-probs of teacher and policy, over all common tokens or, with `top_k`,
    over the teacher's likeliest.

    Of the `rest`, bucket makes one more token in both distributions; renormalise leaves it out of both; zero
    leaves it out of the teacher's, while the policy still pays for what it gives to it. The policy may give
    the rest any probability for free with renormalise, so that its gradient is not that of the whole
    vocabulary.
    """
    size = min(policy.shape[-1], teacher.shape[-1])
    policy, teacher = policy[..., :size], teacher[..., :size]
    p, q = log_softmax(teacher), log_softmax(policy)
    if not 0 < top_k < size:
        return p, q
    top = teacher.topk(top_k, dim=-1).indices
    alone = log_softmax(teacher.gather(-1, top))
    if rest == "renormalise":
        return alone, log_softmax(policy.gather(-1, top))
    with_rest = torch.cat([q.gather(-1, top), outside(q, top)], -1)
    if rest == "zero":
        nothing = torch.full_like(alone[..., :1], torch.finfo(alone.dtype).min)
        return torch.cat([alone, nothing], -1), with_rest
    return torch.cat([p.gather(-1, top), outside(p, top)], -1), with_rest


def jsd(p: Tensor, q: Tensor, share: float) -> Tensor:
    """[n, k] log-probs -> [n] b KL(p || m) + (1 - b) KL(q || m), m = b p + (1 - b) q and b = `share`; as in
    TRL, KL(p || q) for b = 0 and KL(q || p) for b = 1."""
    if share == 0:
        return kl(p, q)
    if share == 1:
        return kl(q, p)
    m = torch.logaddexp(p + math.log(share), q + math.log1p(-share))
    return share * kl(p, m) + (1 - share) * kl(q, m)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """[n, k] log-probs -> [n] KL(p || q)."""
    return (p.exp() * (p - q)).sum(-1)


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probs that are finite where a logit is -inf, so that 0 log 0 is 0."""
    return logits.log_softmax(-1).clamp(min=torch.finfo(logits.dtype).min)


def outside(logp: Tensor, top: Tensor) -> Tensor:
    """[n, 1] log of the mass of all tokens but these, summed up: 1 less the others' would be rounding."""
    return logp.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
