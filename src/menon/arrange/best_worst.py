"""The best answer to each prompt against the worst (iterative DPO, arXiv 2404.10719)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.arrange.groups import answers_by_group, learning_from
from menon.batch import Batch


@dataclass(frozen=True)
class BestWorst:
    """Makes one pair of each group: the answer of highest reward is preferred to that of lowest reward; of
    equal rewards it takes the first.

    A group of equal rewards has no pair and is left out. The correctness `acc` of the two answers becomes 1
    and 0, as in every pair, whatever the grader said of it; the record keeps the grader's. Use it with a loss
    over pairs, like `dpo`, and the share `pair_mean`.
    """

    kind: Literal["best_worst"] = "best_worst"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("pair",)
    compares: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Batch:
        outcome, acc = batch.outcome, batch.acc.clone()
        pair = torch.full_like(batch.group, -1)
        kept: list[Tensor] = []
        for rows in answers_by_group(batch):
            reward_G = outcome[rows]
            best, worst = rows[reward_G.argmax()], rows[reward_G.argmin()]
            if outcome[best] > outcome[worst]:
                both = torch.stack([best, worst])
                pair[both], acc[best], acc[worst] = len(kept), 1, 0
                kept.append(both)
        return replace(learning_from(batch, kept), pair=pair, acc=acc)
