"""Credit of segments: the value at their end minus the value at their start (SPO, arXiv 2505.23564; VinePPO,
2410.01679)."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError

Method = Literal["rloo", "grpo", "leave_one_out"]
EPS = 1e-8
"""Added to the standard deviation in "grpo", as in the authors' code."""


@dataclass(frozen=True)
class SegmentCredit:
    """A = V(end) - V(start) on every token of a segment; V(end) of the last one is the outcome (gamma = 1, no
    other reward).

    A segment starts at a token with a `state_value` and ends where the next one starts. Tokens before the
    first start get 0. An edge of a tree is one segment: it starts in its parent, and the outcome of its
    sequence is the value of its node.

    `method`, for edges: "rloo" is the authors' name of the plain difference, in which the parent's mean holds
    the child itself; "leave_one_out" compares with the mean of the n - 1 siblings, which is n / (n - 1) of
    it, and 0 for an only child; "grpo" divides by the population deviation of the siblings' values + 1e-8.

    Tokens whose probability under the old policy is above `below` were hardly a choice and get 0 (`below` 1:
    no token). If no state was estimated, every advantage is 0. A sequence whose grader failed gets 0.
    """

    method: Method = "rloo"
    """What an edge of a tree is compared with."""
    below: float = 1.0
    """Tokens with a probability above this get no credit; 1: no such limit."""
    kind: Literal["segment"] = "segment"
    writes: ClassVar[tuple[str, ...]] = ("advantage",)

    def __post_init__(self) -> None:
        check_probability(self, self.below)

    @property
    def reads(self) -> tuple[str, ...]:
        siblings = {"rloo": (), "grpo": ("parent", "state_std"), "leave_one_out": ("parent", "state_count")}
        choice = () if self.below == 1 else ("behaviour_logp",)
        return ("reward", "state_value", *siblings[self.method], *choice)

    def __call__(self, batch: Batch) -> Batch:
        if batch.state_value is None:  # no answer of the step has a segment
            return replace(batch, advantage=torch.zeros_like(batch.reward))
        trained = batch.is_action & ragged.spread(batch.valid, batch.offset)  # of edges that wait, too
        starts = (trained & ~batch.state_value.isnan()).nonzero()[:, 0]
        sequence = ragged.owner(batch.offset)
        value, own = batch.state_value[starts].double(), sequence[starts]
        end = batch.outcome.double()[own]
        end[:-1] = torch.where(own[1:] == own[:-1], value[1:], end[:-1])
        credit = (end - value) * self._scale(batch, starts)
        segment = torch.full_like(batch.token, -1).index_copy(
            0, starts, torch.arange(len(starts), device=starts.device)
        )
        segment = segment.cummax(0).values
        inside = trained & (segment >= 0)
        inside[inside.clone()] = own[segment[inside]] == sequence[inside]
        if self.below < 1:
            inside &= batch.need("policy_logp", self) <= math.log(self.below)
        advantage = torch.zeros_like(batch.reward)
        advantage[inside] = credit[segment[inside]].to(advantage.dtype)
        return replace(batch, advantage=advantage)

    def _scale(self, batch: Batch, starts: Tensor) -> Tensor | float:
        if self.method == "grpo":
            return 1 / (batch.need("state_std", self)[starts].double() + EPS)
        if self.method == "leave_one_out":
            count = batch.need("state_count", self)[starts].double()
            return torch.where(count > 1, count / (count - 1).clamp(min=1), 0)
        return 1.0


def check_probability(part: object, below: float) -> None:
    if not 0 < below <= 1:
        raise UserError(
            f"below of {type(part).__name__} is {below:g}; it is a probability above 0 and at most 1 (1 "
            "is off)"
        )
