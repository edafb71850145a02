"""The best answers to each prompt (RAFT, arXiv 2304.06767, algorithm 1)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.arrange.groups import answers_by_group, learning_from
from menon.batch import Batch
from menon.errors import UserError, at_least
from menon.parts import Around


@dataclass(frozen=True)
class BestOf:
    """Learns from the `keep` answers of highest reward in each group; of equal rewards the first ones.

    A group of equal rewards has no best and is left out, and so is one whose best earns no more than
    `min_reward`. An answer whose grader failed, or that is empty, is never kept. With the loss `nll` this is
    RAFT, which keeps one answer; with the advantage `reinforce` and a clipped ratio it is RAFT++ (arXiv
    2504.11343).
    """

    keep: int = 1
    """Answers of each group that are learned from."""
    min_reward: float | None = 0.0
    """Answers that earn no more than this are left out; null: no bound."""
    kind: Literal["best_of"] = "best_of"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ()
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(1, "keep", self.keep)

    def check(self, name: str, around: Around) -> None:
        if self.keep > around.samples_per_prompt:
            raise UserError(
                f"{name}.keep is {self.keep}, and {around.samples_per_prompt} answers are written to a "
                "prompt; lower it, or raise samples_per_prompt"
            )

    def __call__(self, batch: Batch) -> Batch:
        outcome = batch.outcome
        return learning_from(batch, [self.best(rows, outcome[rows]) for rows in answers_by_group(batch)])

    def best(self, rows: Tensor, reward_G: Tensor) -> Tensor:
        """[G] sequences of a group -> those that are learned from."""
        if reward_G.max() == reward_G.min():
            return rows[:0]
        best = torch.argsort(reward_G, descending=True, stable=True)[: self.keep]
        bound = -math.inf if self.min_reward is None else self.min_reward
        return rows[best[reward_G[best] > bound]]
