"""Distance to the reference, estimated from the sampled token (Schulman 2020, "Approximating KL divergence")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, assert_never

import torch
from torch import Tensor

from menon.batch import Batch
from menon.loss.ratio import LIMIT
from menon.types import Metric, Unit
from menon.update.protocols import Need

Estimator = Literal["k1", "abs", "k2", "k3"]

K3_LIMIT = 10.0


def estimate(estimator: Estimator, k: Tensor) -> Tensor:
    """k = log pi - log ref of sampled tokens -> their estimates of KL(pi || ref).

    k1 = k; abs = |k|; k2 = k^2 / 2; k3 = exp(-k) - 1 + k with -k clamped to +-20 and the result to at most 10.
    """
    match estimator:
        case "k1":
            return k
        case "abs":
            return k.abs()
        case "k2":
            return k.square() / 2
        case "k3":
            k = k.clamp(-LIMIT, LIMIT)
            return (torch.exp(-k) - 1 + k).clamp(max=K3_LIMIT)
    assert_never(estimator)


@dataclass(frozen=True)
class KL:
    """l_t = an estimate of KL(pi || ref) at token t, from k = log pi_t - log ref_t.

    As a loss on the policy's own samples: k2 has the gradient of the reverse KL of each token given its prefix; k3 that of the
    forward KL; k1 has an expected gradient of zero and regularises nothing. k3 alone can overflow and is clamped as most
    implementations clamp it: above 10 (a token 2.6 nats likelier under the reference) it has no gradient.
    """

    estimator: Estimator = "k3"
    kind: Literal["kl"] = "kl"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ("ref_logp",)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return estimate(self.estimator, self._k(now, batch))

    def watch(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        """Nothing: the record takes kl/* from the policy that wrote the batch, not from one in the middle of an update."""
        return {}

    def _k(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return torch.where(batch.trained, now["logp"] - batch.need("ref_logp", self), 0)
