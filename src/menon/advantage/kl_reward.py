"""The distance to a reference as a part of the reward (Ziegler et al., arXiv 1909.08593, section 2.2)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class KLInReward:
    """r_t <- r_t - beta (old_logp_t - ref_logp_t) on every trained token. Comes before the estimator.

    With a target, beta steers the KL there: beta *= 1 + clip(KL / target - 1, -.2, .2) n / horizon after each
    step, where KL is the mean over the n answers with tokens of their token means. Its memory is beta.
    Without a target beta stays as it is.
    """

    beta: float = 0.001
    target: float | None = None
    horizon: float = 10_000
    kind: Literal["kl_in_reward"] = "kl_in_reward"
    reads: ClassVar[tuple[str, ...]] = ("old_logp", "ref_logp")

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
        k1 = torch.where(batch.trained, batch.need("old_logp", self) - batch.need("ref_logp", self), 0)
        batch = replace(batch, reward=batch.reward - state["beta"] * k1)
        length = batch.action_lengths
        present = length > 0
        if not present.any():
            return batch, state
        measured = (ragged.sequence_sum(k1, batch.offset) / length.clamp(min=1))[present].mean()
        return batch, {"beta": self.steer(state["beta"], float(measured), int(present.sum()))}

    def steer(self, beta: float, measured: float, count: int) -> float:
        """The next beta after `count` answers at a mean KL of `measured`."""
        if self.target is None:
            return beta
        return beta * (1 + min(max(measured / self.target - 1, -0.2), 0.2) * count / self.horizon)
