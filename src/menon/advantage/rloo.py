"""REINFORCE leave-one-out (Kool et al. 2019; Ahmadian et al., arXiv 2402.14740)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon.advantage.groups import credit_groups
from menon.batch import Batch


@dataclass(frozen=True)
class RLOO:
    """a_i = R_i - mean of the other G - 1 rewards of the group: an unbiased baseline, no deviation.

    A group of one and a group of equal rewards give 0; empty answers count, answers whose grader failed do
    not.
    """

    kind: Literal["rloo"] = "rloo"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)
    compares: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Batch:
        return credit_groups(batch, self.of_group)

    def of_group(self, outcome_G: Tensor) -> Tensor:
        return outcome_G - (outcome_G.sum() - outcome_G) / (len(outcome_G) - 1)
