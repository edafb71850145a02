"""The distance to a reference as a part of the reward (Ziegler et al., arXiv 1909.08593, section 2.2)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from menon.adaptive_kl import mean_kl, sampled_kl, steered
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class KLInReward:
    """r_t <- r_t - beta (old_logp_t - ref_logp_t) on every trained token. Comes before the estimator.

    With a target, beta is adapted so that the KL approaches it: beta *= 1 + clip(KL / target - 1, -.2, .2) n
    / horizon after each step, where KL is the mean over the n answers that have tokens of their mean over
    tokens. Its state is beta. Without a target beta is constant.
    """

    beta: float = 0.001
    """Coefficient of the KL."""
    target: float | None = None
    """The KL that beta is adapted to; null: beta is constant."""
    horizon: float = 10_000
    """Answers over which beta adapts; a larger one adapts more slowly."""
    kind: Literal["kl_in_reward"] = "kl_in_reward"
    reads: ClassVar[tuple[str, ...]] = ("reward", "old_logp", "ref_logp")
    writes: ClassVar[tuple[str, ...]] = ("reward",)

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise UserError(
                f"beta of KLInReward is {self.beta}; a negative one would reward distance from the reference"
            )
        if (self.target is not None and self.target <= 0) or self.horizon <= 0:
            raise UserError(
                f"target {self.target} and horizon {self.horizon} of KLInReward must both be positive"
            )

    def init(self) -> Mapping[str, float]:
        return {"beta": self.beta}

    def __call__(self, batch: Batch, state: Mapping[str, float]) -> tuple[Batch, Mapping[str, float]]:
        k1 = sampled_kl(batch, self)
        batch = replace(batch, reward=batch.reward - state["beta"] * k1)
        if self.target is None:
            return batch, state
        return batch, {"beta": steered(state["beta"], *mean_kl(k1, batch), self.target, self.horizon)}
