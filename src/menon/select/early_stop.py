"""Stops the updates of a step once the policy has moved too far (PPO's usual early stop; ReaLHF and SPO use
the mean ratio)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.update.protocols import Current

LIMIT = 20.0


@dataclass(frozen=True)
class EarlyStop:
    """Keeps every token of an update, or none once the policy is too far from the old one over that update's
    tokens.

    The policy is too far if the mean of rho - 1 - log rho (an estimate of KL(pi_old || pi)) is above `kl`, or
    the mean of rho = pi / pi_old above `ratio`. If every term is stopped, the update is not made
    (update/empty), so the policy does not change for the rest of the step. The log-ratio is clamped to +-20.
    The first update of a step is always made.
    """

    kl: float | None = 0.01
    """Largest estimate of KL(pi_old || pi); null: no such bound."""
    ratio: float | None = None
    """Largest mean ratio of new to old policy; null: no such bound."""
    kind: Literal["early_stop"] = "early_stop"
    reads: ClassVar[tuple[str, ...]] = ("old_logp",)
    column: ClassVar[str] = "early_stop"

    def __post_init__(self) -> None:
        if self.kl is None and self.ratio is None:
            raise UserError("EarlyStop needs kl or ratio; without one it stops nothing")
        if (self.kl is not None and self.kl <= 0) or (self.ratio is not None and self.ratio <= 1):
            raise UserError(f"kl {self.kl} of EarlyStop must be positive, ratio {self.ratio} above 1")

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        if batch.old_logp is None:
            return {self.column: batch.trained}
        change = ragged.difference(current("logp")["logp"], batch.old_logp, batch.trained).clamp(
            -LIMIT, LIMIT
        )
        ratio = change.exp()
        near = float(ragged.masked_mean(ratio - 1 - change, batch.trained)) <= (
            math.inf if self.kl is None else self.kl
        )
        small = float(ragged.masked_mean(ratio, batch.trained)) <= (
            math.inf if self.ratio is None else self.ratio
        )
        return {self.column: batch.trained & near & small}

    def __call__(self, batch: Batch) -> Tensor:
        return batch.columns[self.column]
