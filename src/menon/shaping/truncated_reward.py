"""The reward of truncated answers."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from menon import ragged
from menon.batch import Batch
from menon.types import FINISHES


@dataclass(frozen=True)
class TruncatedReward:
    """R <- factor * R for answers that were cut at their length limit, or R <- value if one is set. Comes
    before the estimator.  Dr.GRPO and SPO give them 0; a negative value is a penalty. The factor also applies
    to the rewards of turns; a value replaces them. Empty answers and those whose grader failed stay as they
    are; raw correctness (`acc`) stays too.
    """

    factor: float = 0.0
    """The reward of a truncated answer is multiplied by this."""
    value: float | None = None
    """The reward of a truncated answer, in place of the factor; null: by factor."""
    kind: Literal["truncated_reward"] = "truncated_reward"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("reward",)

    def __call__(self, batch: Batch) -> Batch:
        last = ragged.last(batch.trained, batch.offset)
        cut = (batch.finish == FINISHES.index("length")) & (last >= 0)
        factor = self.factor if self.value is None else 0.0
        reward = torch.where(ragged.spread(cut, batch.offset), factor * batch.reward, batch.reward)
        if self.value is not None:
            reward = reward.index_fill(0, last[cut], self.value)
        return replace(batch, reward=reward)
