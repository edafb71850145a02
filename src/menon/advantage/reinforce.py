"""REINFORCE (Williams 1992) with the reward that is still to come."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from menon import ragged
from menon.advantage.actions import pick, place
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class Reinforce:
    """A_t = sum over t' >= t of gamma^(t'-t) r_t', without a baseline; t counts the policy's own tokens.

    The estimator does not use groups: one answer per prompt is enough, and in a group of equal rewards each
    answer is still credited with its reward.
    """

    gamma: float = 1.0
    """Discount of later rewards, per token; 1: none."""
    kind: Literal["reinforce"] = "reinforce"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise UserError(f"gamma of Reinforce is {self.gamma}; a discount lies between 0 and 1")

    def __call__(self, batch: Batch) -> Batch:
        reward, offset = pick(batch.reward, batch)
        return replace(batch, advantage=place(ragged.return_to_go(reward, offset, self.gamma), batch))
