"""MaxRL: reinforcement learning as maximum likelihood (arXiv 2602.02710)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon.advantage.groups import credit_groups
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class MaxRL:
    """a_i = (R_i - mean) / (mean + eps) of the group's rewards, which must not be negative.

    Dividing by the pass rate turns the gradient of E[R] into that of E[log of the pass rate]: hard questions
    weigh more, as under maximum likelihood. Groups of one, of equal rewards and without a reward give 0.
    Empty answers count, failed graders do not.
    """

    eps: float = 0.0
    """Added to the mean reward that divides."""
    kind: Literal["maxrl"] = "maxrl"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.eps < 0:
            raise UserError(
                f"eps of MaxRL is {self.eps}; it is added to a mean reward and must be 0 or positive"
            )

    def __call__(self, batch: Batch) -> Batch:
        return credit_groups(batch, self.of_group)

    def of_group(self, outcome_G: Tensor) -> Tensor:
        if outcome_G.min() < 0:
            raise UserError(
                f"MaxRL divides by mean rewards and one reward is {float(outcome_G.min()):g}; use none "
                "below 0"
            )
        return (outcome_G - outcome_G.mean()) / (outcome_G.mean() + self.eps)
