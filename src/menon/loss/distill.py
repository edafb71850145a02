"""Divergence from a teacher's next-token distribution (Hinton et al., arXiv 1503.02531; generalised JSD:
GKD, arXiv 2306.13649)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.loss.divergence import Rest, check, compared, jsd
from menon.loss.ratio import mean_over
from menon.types import Metric, Unit
from menon.update.protocols import Need, Reduction


@dataclass(frozen=True)
class Distill:
    """l_t = D(p, q) at token t, times T^2 if `t2_scale`: p = softmax(z_teacher / T), q = softmax(z / T).

    forward is KL(p || q), reverse KL(q || p), jsd is b KL(p || m) + (1 - b) KL(q || m) with m = b p + (1 - b)
    q; b = 0 stands for forward and b = 1 for reverse, as in TRL. T divides logits that the run's sampling
    temperature has divided already. If one model has more logits (padding), the common ones count.

    With `top_k` the sums are over the k likeliest tokens of the teacher, and `rest` says what becomes of the
    others (`loss.divergence.compared`).
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
    rest: Rest = "bucket"
    """What becomes of the other tokens: one bucket of both, out of both, or out of the teacher's."""
    kind: Literal["distill"] = "distill"
    unit: ClassVar[Unit] = "token"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check(self.temperature, self.beta, self.top_k, self.rest, self._share)

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
        p, q = compared(logits / self.temperature, other / self.temperature, self.top_k, self.rest)
        return jsd(p, q, self._share)

    @property
    def _share(self) -> float:
        """The teacher's weight in the mixture, to which both are compared; 0: forward, 1: reverse."""
        return {"forward": 0.0, "reverse": 1.0}.get(self.divergence, self.beta)
