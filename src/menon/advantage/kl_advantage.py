"""A KL penalty that is subtracted from the advantage after the answers of a group were compared (OpenRLHF,
slime, NeMo-RL)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from menon import ragged
from menon.advantage.actions import pick, place
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class KLInAdvantage:
    """A_t <- A_t - beta * k_t, k_t = old_logp_t - ref_logp_t. Comes after a group estimator and before
    whitening.

    `KLInReward` before a group estimator would add the penalty to the rewards that are compared, so that
    every token would pay for the whole answer. Here `pays` chooses what a token pays for: "own" is its own
    k_t, "rest" is the sum of k over this token and all later ones, discounted by gamma (the return-to-go, as
    if the penalty were a reward).
    """

    beta: float = 0.001
    """Coefficient of the KL."""
    pays: Literal["own", "rest"] = "rest"
    """A token pays for its own log-ratio, or for the rest of the answer too."""
    gamma: float = 1.0
    """Discount of later log-ratios, with pays=rest."""
    kind: Literal["kl_in_advantage"] = "kl_in_advantage"
    reads: ClassVar[tuple[str, ...]] = ("advantage", "old_logp", "ref_logp")
    writes: ClassVar[tuple[str, ...]] = ("advantage",)

    def __post_init__(self) -> None:
        if self.beta < 0 or not 0 <= self.gamma <= 1:
            raise UserError(
                f"beta {self.beta} of KLInAdvantage must be 0 or positive, and gamma {self.gamma} between "
                "0 and 1"
            )

    def __call__(self, batch: Batch) -> Batch:
        k1, offset = pick(batch.need("old_logp", self) - batch.need("ref_logp", self), batch)
        cost = k1 if self.pays == "own" else ragged.return_to_go(k1, offset, self.gamma)
        charged = batch.need("advantage", self) - self.beta * place(cost, batch)
        return replace(batch, advantage=torch.where(batch.trained, charged, 0))
