"""Distance to the reference, summed over the vocabulary."""

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


REVERSE_KL = Reduction("reverse_kl", reverse_kl, other="reference")


@dataclass(frozen=True)
class ExactKL:
    """l_t = KL(pi || ref) of the next-token distributions at token t: exact given the prefix, and so is its gradient.

    Its sum over a sequence estimates the KL of whole texts without bias, its gradient lacks what a token does to later ones.
    """

    kind: Literal["exact_kl"] = "exact_kl"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = (REVERSE_KL,)
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return torch.where(batch.trained, now[REVERSE_KL.name], 0)

    def watch(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        return {"kl/ref_full": mean_over(now[REVERSE_KL.name], batch.trained)}
