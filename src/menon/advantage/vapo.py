"""VAPO's advantages: one lambda for the policy, by length, and another for the critic (arXiv 2504.05118,
section 4.2)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from menon.advantage.actions import pick, place
from menon.advantage.gae import check_fractions, estimate, final_values
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class VAPO:
    """Policy: GAE with lam_i = max(0, 1 - 1 / (alpha L_i)); critic: ret = V + GAE with `lam_critic`, 1 for
    return-to-go.

    Long answers get a lambda near 1 (little bias of a bootstrapped critic), short ones a small one (little
    variance): it is 0 up to L = 1 / alpha tokens. `alpha=0` fixes the policy's lambda at `lam`, the decoupled
    GAE of VC-PPO (arXiv 2503.01491). Edge cases as for `GAE`.
    """

    alpha: float = 0.05
    """Lambda is 1 - 1 / (alpha length); 0: fixed at lam."""
    lam: float = 0.95
    """The policy's lambda where alpha is 0."""
    lam_critic: float = 1.0
    """The critic's lambda; 1: its target is the return-to-go."""
    gamma: float = 1.0
    """Discount of later rewards, per token; 1: none."""
    bootstrap_truncated: bool = False
    """Put the critic's value where a truncated answer was cut, instead of 0."""
    kind: Literal["vapo"] = "vapo"
    writes: ClassVar[tuple[str, ...]] = ("advantage", "ret")
    returns_by: ClassVar[str] = "lam_critic"
    """The setting that is the lambda of the returns."""

    @property
    def reads(self) -> tuple[str, ...]:
        values = ("value", "value_after") if self.bootstrap_truncated else ("value",)
        return ("reward", *values)

    def __post_init__(self) -> None:
        check_fractions(self, "lam", "lam_critic", "gamma")
        if self.alpha < 0:
            raise UserError(f"alpha of VAPO is {self.alpha}; it must be positive, or 0 for a fixed lam")

    def __call__(self, batch: Batch) -> Batch:
        value, _ = pick(batch.need("value", self), batch)
        ended = final_values(batch, self) if self.bootstrap_truncated else None
        length = batch.action_lengths.clamp(min=1).to(value.dtype)
        lam = (
            (1 - 1 / (self.alpha * length)).clamp(min=0) if self.alpha else torch.full_like(length, self.lam)
        )
        advantage = estimate(batch, value, self.gamma, lam, ended)
        target = value + estimate(batch, value, self.gamma, self.lam_critic, ended)
        return replace(batch, advantage=place(advantage, batch), ret=place(target, batch))
