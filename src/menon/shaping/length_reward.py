"""A reward for being shorter than the other answers to the same question (Kimi k1.5, arXiv 2501.12599,
section 2.3.3)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class LengthReward:
    """R <- R + factor * lam for a right answer, R + factor * min(0, lam) for any other, lam = 1/2 - (L - min)
    / (max - min).

    min and max are over the answers of the group, L counts the policy's own tokens; lam is 0 if all answers
    have the same length. A right answer has acc 1. This part comes before the estimator. Empty answers and
    those whose grader failed are in no statistic and keep their reward.
    """

    factor: float = 1.0
    """Size of the change of the reward."""
    kind: Literal["length_reward"] = "length_reward"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("reward",)
    compares: ClassVar[bool] = True
    needs_truth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.factor < 0:
            raise UserError(f"factor of LengthReward is {self.factor}; a negative one would reward length")

    def __call__(self, batch: Batch) -> Batch:
        last = ragged.last(batch.trained, batch.offset)
        answers = (last >= 0).nonzero()[:, 0]
        if not len(answers):
            return batch
        length = batch.action_lengths[answers].to(batch.reward.dtype)
        names, group = torch.unique(batch.group[answers], return_inverse=True)
        shape = torch.zeros(len(names), dtype=length.dtype)
        least = shape.scatter_reduce(0, group, length, "amin", include_self=False)[group]
        most = shape.scatter_reduce(0, group, length, "amax", include_self=False)[group]
        lam = torch.where(most > least, 0.5 - (length - least) / (most - least).clamp(min=1), 0)
        lam = torch.where(batch.acc[answers] == 1, lam, lam.clamp(max=0))
        return replace(batch, reward=batch.reward.index_add(0, last[answers], self.factor * lam))
