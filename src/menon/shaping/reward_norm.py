"""Normalises rewards, as the last change before credit is given (docs/numerics.md, 11.4)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError
from menon.moments import Moments, mean_and_deviation, nothing_seen, remembered


@dataclass(frozen=True)
class RewardNorm:
    """R <- (clip(R) - mean) / std of an answer's whole reward R; `acc` stays as it is. Comes before
    KLInReward and the estimator.

    `over`: the answers of this step (population standard deviation), or `running` values of it, mean <- decay
    mean + (1 - decay) m and the same for the second moment, corrected for their start at 0 and with eps in
    the square root. If all rewards of the step are equal, they become 0. With "none" R is only clipped.
    `center=false` keeps the mean (TRL's `whiten_rewards`); `clip` bounds R to +-clip first.

    The reward of an answer is the sum over its tokens; the change is added where its outcome is. Empty
    answers count; those whose grader failed are in no statistic and stay as they are.
    """

    over: Literal["step", "running", "none"] = "step"
    """Statistics of this step, running ones, or none."""
    center: bool = True
    """Subtract the mean."""
    clip: float | None = None
    """Bound on the reward, on both sides, before the statistics; null: none."""
    decay: float = 0.99
    """Weight of earlier steps, with over=running."""
    eps: float = 1e-5
    """Added to the variance."""
    kind: Literal["reward_norm"] = "reward_norm"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("reward",)

    def __post_init__(self) -> None:
        if (self.clip is not None and self.clip <= 0) or not 0 <= self.decay < 1 or self.eps < 0:
            raise UserError(
                f"clip {self.clip}, decay {self.decay} and eps {self.eps} of RewardNorm: clip must be "
                "positive, decay from 0 to "
                "below 1, and eps 0 or more"
            )
        if self.over == "none" and self.clip is None:
            raise UserError(
                "over=none of RewardNorm leaves rewards on their scale and so needs a clip; set one, like "
                "clip=20"
            )

    def init(self) -> Moments:
        return nothing_seen()

    def __call__(self, batch: Batch, state: Moments) -> tuple[Batch, Moments]:
        answers = batch.valid.nonzero()[:, 0]
        if not len(answers):
            return batch, state
        last = ragged.last(batch.is_action, batch.offset)
        last = torch.where(last >= 0, last, batch.offset[1:] - 1)
        given = ragged.sequence_sum(batch.reward, batch.offset)[answers].double()
        clipped = given if self.clip is None else given.clamp(-self.clip, self.clip)
        state = remembered(state, clipped, self.decay)
        change = (self.scaled(clipped, state) - given).to(batch.reward.dtype)
        return replace(batch, reward=batch.reward.index_add(0, last[answers], change)), state

    def scaled(self, rewards: Tensor, state: Moments) -> Tensor:
        """The scaled rewards [answers]; `state` already includes them."""
        if self.over == "none":
            return rewards
        if self.over == "step":
            same = bool(rewards.min() == rewards.max())
            mean, std = float(rewards.mean()), 0.0 if same else float(rewards.std(correction=0))
        else:
            mean, std = mean_and_deviation(state, self.eps)
        if std == 0:
            return torch.zeros_like(rewards) if self.center else rewards
        scaled = (rewards - mean) / std
        return scaled if self.center else scaled + mean
