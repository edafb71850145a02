"""Divergence from a teacher's next-token distribution (Hinton et al., arXiv 1503.02531; generalised JSD:
GKD, arXiv 2306.13649)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Need, Reduction


@dataclass(frozen=True)
class Distill:
    """l_t = D(p, q) at token t, times T^2 if `t2_scale`: p = softmax(z_teacher / T), q = softmax(z / T).

    forward is KL(p || q), reverse KL(q || p), jsd is b KL(p || m) + (1 - b) KL(q || m) with m = b p + (1 - b)
    q; b = 0 stands for forward and b = 1 for reverse, as in TRL. T divides logits that the run's sampling
    temperature has divided already. If the models have logits of different sizes, padding at their ends, the
    common ones count.

    With `top_k` the sums are over the k likeliest tokens of the teacher. Of the `rest`, bucket makes one more
    token in both distributions; renormalise leaves it out of both; zero leaves it out of the teacher's, while
    the policy still pays for what it gives to it. The policy may give the rest any probability for free with
    renormalise, so that its gradient is not that of the whole vocabulary.
    """

    divergence: Literal["forward", "reverse", "jsd"] = "forward"
    """forward covers all that the teacher may say, reverse keeps to what it likes best, jsd is in between."""
    beta: float = 0.5
    """Weight of the teacher in the mixture of jsd, 0 to 1."""
    temperature: float = 1.0
    """T: above 1, unlikely tokens count more."""
    t2_scale: bool = False
    """Multiply by T^2, so that the gradient keeps its size for any T."""
    top_k: int = 0
    """Compare on so many of the teacher's likeliest tokens; 0: on the whole vocabulary."""
    rest: Literal["bucket", "renormalise", "zero"] = "bucket"
    """What becomes of the other tokens: one bucket of both, out of both, or out of the teacher's."""
    kind: Literal["distill"] = "distill"
    unit: ClassVar[Unit] = "token"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 <= self.beta <= 1 or self.top_k < 0:
            raise UserError(
                f"temperature {self.temperature:g} of Distill must be positive, beta {self.beta:g} between 0 "
                f"and 1, and top_k {self.top_k} 0 or positive"
            )
        if self.top_k and self.rest == "zero" and self._toward_policy:
            raise UserError(
                "rest=zero of Distill gives most tokens no probability under the teacher, so the reverse KL "
                "is infinite; set rest=bucket, or another divergence"
            )

    @property
    def needs(self) -> tuple[Need, ...]:
        return (Reduction(repr(self), self.between, other="teacher"),)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        scale = self.temperature**2 if self.t2_scale else 1.0
        return scale * torch.where(batch.trained, now[repr(self)], 0)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {"distill/divergence": mean_over(now[repr(self)], batch.trained)}

    def between(self, logits: Tensor, other: Tensor | None) -> Tensor:
        """[n, V] logits of the policy, [n, W] of the teacher -> [n] divergences, in nats."""
        if other is None:
            raise ValueError("a divergence is taken from the logits of a teacher")
        p, q = self._compared(logits, other)
        if self.divergence == "forward" or (self.divergence == "jsd" and self.beta == 0):
            return kl(p, q)
        if self._toward_policy:
            return kl(q, p)
        m = torch.logaddexp(p + math.log(self.beta), q + math.log1p(-self.beta))
        return self.beta * kl(p, m) + (1 - self.beta) * kl(q, m)

    @property
    def _toward_policy(self) -> bool:
        return self.divergence == "reverse" or (self.divergence == "jsd" and self.beta == 1)

    def _compared(self, logits: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probs of teacher and policy, over all tokens or over `top_k` and perhaps a bucket."""
        size = min(logits.shape[-1], other.shape[-1])
        teacher, policy = (z[..., :size] / self.temperature for z in (other, logits))
        p, q = log_softmax(teacher), log_softmax(policy)
        if not 0 < self.top_k < size:
            return p, q
        top = teacher.topk(self.top_k, dim=-1).indices
        alone = log_softmax(teacher.gather(-1, top))
        if self.rest == "renormalise":
            return alone, log_softmax(policy.gather(-1, top))
        with_rest = torch.cat([q.gather(-1, top), outside(q, top)], -1)
        if self.rest == "zero":
            nothing = torch.full_like(alone[..., :1], torch.finfo(alone.dtype).min)
            return torch.cat([alone, nothing], -1), with_rest
        return torch.cat([p.gather(-1, top), outside(p, top)], -1), with_rest


def kl(p: Tensor, q: Tensor) -> Tensor:
    """[n, k] log-probs -> [n] KL(p || q)."""
    return (p.exp() * (p - q)).sum(-1)


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probs that are finite where a logit is -inf, so that 0 log 0 is 0."""
    return logits.log_softmax(-1).clamp(min=torch.finfo(logits.dtype).min)


def outside(logp: Tensor, top: Tensor) -> Tensor:
    """[n, 1] log of the mass of all tokens but these, summed up: 1 less the others' would be rounding."""
    return logp.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
