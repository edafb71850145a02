"""GRPO for the best of k (arXiv 2503.19595)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.advantage.groups import credit_groups
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class GRPOPassK:
    """Only the best answer of a group is credited, with its lead: a_best = R_best - R_second, all others 0.

    `std_mode` "bessel" divides by the sample deviation of the group + eps. A tie at the top has no lead and
    gives 0, as do groups of one and of equal rewards. Empty answers can be the best (and then credit no
    token); failed graders are left out.
    """

    std_mode: Literal["none", "bessel"] = "none"
    """What the lead is divided by."""
    eps: float = 1e-6
    """Added to the deviation."""
    kind: Literal["grpo_passk"] = "grpo_passk"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.eps < 0:
            raise UserError(
                f"eps of GRPOPassK is {self.eps}; it is added to a standard deviation and must be 0 or "
                "positive"
            )

    def __call__(self, batch: Batch) -> Batch:
        return credit_groups(batch, self.of_group)

    def of_group(self, outcome_G: Tensor) -> Tensor:
        top = outcome_G.topk(2)
        lead = top.values[0] - top.values[1]
        if self.std_mode == "bessel":
            lead = lead / (outcome_G.std() + self.eps)
        return torch.zeros_like(outcome_G).index_fill(0, top.indices[:1], float(lead))
