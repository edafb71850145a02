"""KL to the reference, summed over the whole vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Need, Reduction


def reverse_kl(logits: Tensor, other: Tensor | None) -> Tensor:
    """[n, V] logits of policy and reference -> [n] sum over v of pi_v (log pi_v - log ref_v)."""
    if other is None:
        raise ValueError("the exact KL is taken against the logits of another model")
    logp = logits.log_softmax(-1)
    return (logp.exp() * (logp - other.log_softmax(-1))).sum(-1)


def forward_kl(logits: Tensor, other: Tensor | None) -> Tensor:
    """[n, V] logits of policy and reference -> [n] sum over v of ref_v (log ref_v - log pi_v)."""
    if other is None:
        raise ValueError("the exact KL is taken against the logits of another model")
    return reverse_kl(other, logits)


REVERSE_KL = Reduction("reverse_kl", reverse_kl, other="reference")
FORWARD_KL = Reduction("forward_kl", forward_kl, other="reference")


@dataclass(frozen=True)
class ExactKL:
    """l_t = KL(pi || ref) of the next-token distributions at token t: exact given the prefix, and so is its
    gradient.

    Its sum over a sequence is an unbiased estimate of the KL of whole texts. Its gradient leaves out the
    effect of a token on later ones. `direction` "forward" is KL(ref || pi): against a reference that is reset
    before each step it is the exact penalty of PPO's other form (`OldKL` is its estimate).
    """

    direction: Literal["reverse", "forward"] = "reverse"
    """reverse is KL(pi || ref), forward KL(ref || pi)."""
    kind: Literal["exact_kl"] = "exact_kl"
    unit: ClassVar[Unit] = "token"
    reads: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[Need, ...]:
        return (self._reduction,)

    @property
    def _reduction(self) -> Reduction:
        return REVERSE_KL if self.direction == "reverse" else FORWARD_KL

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return torch.where(batch.trained, now[self._reduction.name], 0)

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {"kl/ref_full": mean_over(now[self._reduction.name], batch.trained)}
