"""KL to the reference, estimated from the sampled token (Schulman 2020, "Approximating KL divergence")."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.loss.ratio import LIMIT, check_limit, log_ratio
from menon.types import Metric, Unit
from menon.update.protocols import Need

Estimator = Literal["k1", "abs", "k2", "k3", "k1+", "k3+"]
Sampled = Literal["current", "old", "behaviour"]

K3_MOST = 10.0


def estimate(
    estimator: Estimator,
    k: Tensor,
    limit: float = LIMIT,
    most: float | None = None,
    ratio: Tensor | None = None,
) -> Tensor:
    """k = log pi - log ref of sampled tokens [N] -> their estimates of KL(pi || ref), times `ratio` [N].

    k1 = k; abs = |k|; k2 = k^2 / 2; k3 = exp(-k) - 1 + k with k clamped to +-limit. The result, ratio
    included, is clamped to +-most; if most is None, that of k3 is clamped to 10 and the others are not
    clamped. Beyond a clamp nothing has a gradient, the ratio included. k1+ and k3+ have the value of k1 and
    k3 and the gradient of k2, times the ratio.
    """
    if estimator in ("k1+", "k3+"):
        # An infinite k has no gradient, rather than a NaN in the difference.
        square = torch.where(k.isfinite(), k, 0).square() / 2
        weight = 1 if ratio is None else ratio.detach()
        value = estimate("k1" if estimator == "k1+" else "k3", k.detach(), limit, most, ratio)
        return value + weight * (square - square.detach())
    if estimator == "k3":
        most = K3_MOST if most is None else most
        ratio = ratio if ratio is None else torch.where(k.abs() <= limit, ratio, ratio.detach())
        k = k.clamp(-limit, limit)
    value = unbounded(estimator, k)
    if ratio is not None:
        value = value * ratio
    return value if most is None else value.clamp(-most, most)


def unbounded(estimator: Estimator, k: Tensor) -> Tensor:
    match estimator:
        case "k1":
            return k
        case "abs":
            return k.abs()
        case "k2":
            return k.square() / 2
        case "k3":
            return torch.exp(-k) - 1 + k
    raise AssertionError(estimator)


@dataclass(frozen=True)
class KL:
    """l_t = an estimate of KL(pi || ref) at token t, from k = log pi_t - log ref_t.

    As a loss on the policy's own samples: k2 has the gradient of the reverse KL of each token given its
    prefix; k3 that of the forward KL; k1 has an expected gradient of zero and regularises nothing. k1+ and
    k3+ report k1 and k3 and learn with the gradient of k2. Clamps, beyond which there is no gradient: `limit`
    on the log-ratio of k3, which alone can overflow, and `most` on the result. If `most` is null, k3 is
    clamped to 10 (a token 2.6 nats likelier under the reference), as in most implementations, and the others
    are not clamped; a `most` of 1e38 is no clamp.

    Off the policy's own samples the estimate needs the ratio of the policy to the one that wrote them:
    `weigh` multiplies by pi / pi_old or pi / pi_behaviour, log-ratio clamped to +-20, with its gradient.
    "current" is a ratio of value 1 that only adds its gradient: the dependence of the samples on the policy.
    With it k1 and k3 have the gradient of the reverse KL of each token given its prefix. The result is
    clamped after it is weighed. Beyond a clamp the ratio has no gradient either: alone, it would make a token
    less likely that the reference finds much likelier.
    """

    estimator: Estimator = "k3"
    """How a token's KL is estimated, and which gradient it has."""
    weigh: Sampled | None = None
    """Multiply by the ratio to the old policy, or to the one that wrote; null: no."""
    limit: float = LIMIT
    """Bound on the log-ratio of k3, on both sides."""
    most: float | None = None
    """Bound on the estimate; null: 10 for k3, none for the others."""
    kind: Literal["kl"] = "kl"
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)

    def __post_init__(self) -> None:
        check_limit(self.limit, self)
        if self.most is not None and self.most <= 0:
            raise UserError(
                f"most of KL is {self.most}; estimates are held to +-most, so set it above 0, or null"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        column = {"old": ("old_logp",), "behaviour": ("behaviour_logp",)}.get(self.weigh or "", ())
        return ("ref_logp", *column)

    def __call__(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor:
        k = ragged.difference(now["logp"], batch.need("ref_logp", self), batch.trained)
        return estimate(self.estimator, k, self.limit, self.most, self._ratio(now, batch))

    def metrics(self, now: Mapping[str, Tensor], batch: Batch) -> dict[str, Metric]:
        """Nothing: kl/* is measured for every term alike, before the step's updates
        (`update.objective.distance`)."""
        return {}

    def _ratio(self, now: Mapping[str, Tensor], batch: Batch) -> Tensor | None:
        if self.weigh is None:
            return None
        if self.weigh == "current":
            batch = replace(batch, old_logp=None)
        elif self.weigh == "behaviour":
            batch = replace(batch, old_logp=batch.need("behaviour_logp", self))
        return log_ratio(now, batch).exp()
