"""Generalised advantage estimation (Schulman et al., arXiv 1506.02438, equation 16)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from menon import ragged
from menon.advantage.actions import pick, place
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class GAE:
    """delta_t = r_t + gamma V_{t+1} - V_t;  A_t = sum over t' >= t of (gamma lam)^(t'-t) delta_t';  ret_t = A_t + V_t.

    V_t is the value of the state before token t and 0 after the last one: a truncated answer counts as ended. t counts the
    policy's own tokens, so tokens of an environment are passed over. lam = gamma = 1: A is the outcome minus the value.
    """

    gamma: float = 1.0
    lam: float = 1.0
    kind: Literal["gae"] = "gae"
    reads: ClassVar[tuple[str, ...]] = ("value",)

    def __post_init__(self) -> None:
        for name, number in (("gamma", self.gamma), ("lam", self.lam)):
            if not 0 <= number <= 1:
                raise UserError(f"{name} of GAE is {number}; it lies between 0 and 1")

    def __call__(self, batch: Batch) -> Batch:
        reward, offset = pick(batch.reward, batch)
        value, _ = pick(batch.need("value", self), batch)
        ends = torch.zeros_like(value, dtype=torch.bool)
        ends[offset[1:][batch.action_lengths > 0] - 1] = True
        value_after = torch.where(ends, 0, value.roll(-1))
        advantage = ragged.return_to_go(reward + self.gamma * value_after - value, offset, self.gamma * self.lam)
        return replace(batch, advantage=place(advantage, batch), ret=place(advantage + value, batch))
