"""OPO: on-policy RL with the baseline of least variance for long answers (arXiv 2505.23585, equation 6)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from menon.advantage.groups import credit_answers, groups_with_signal
from menon.batch import Batch


@dataclass(frozen=True)
class OPO:
    """a_i = R_i - b, b = sum over the group of L_j R_j / sum of L_j: long answers, whose gradients are
    larger, weigh more.

    Made for one update per step, without KL and entropy terms. The answer's own reward is part of b. Groups
    of one and of equal rewards give 0; empty answers have no weight in b; a group of empty answers has
    nothing to credit. Failed graders are left out.
    """

    kind: Literal["opo"] = "opo"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)
    compares: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Batch:
        outcome, length = batch.outcome.double(), batch.action_lengths.double()
        credit = torch.zeros_like(outcome)
        for members in groups_with_signal(batch):
            outcome_G, length_G = outcome[members], length[members]
            credit[members] = outcome_G - (length_G * outcome_G).sum() / length_G.sum().clamp(min=1)
        return credit_answers(batch, credit)
