"""Generalised advantage estimation (Schulman et al., arXiv 1506.02438, equation 16)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.advantage.actions import pick, place
from menon.batch import Batch
from menon.errors import UserError
from menon.types import FINISHES


@dataclass(frozen=True)
class GAE:
    """delta_t = r_t + gamma V_{t+1} - V_t; A_t = sum over t' >= t of (gamma lam)^(t'-t) delta_t'; ret_t = A_t
    + V_t.

    V_t is the value of the state before token t and 0 after the last one: a truncated answer counts as ended,
    unless `bootstrap_truncated` puts the critic's value of the state after its last token there. t counts the
    policy's own tokens and skips those of an environment. With lam = gamma = 1, A is the outcome minus the
    value. The estimator does not use groups. Empty answers have no token to credit; answers whose grader
    failed get 0.
    """

    gamma: float = 1.0
    """Discount of later rewards, per token; 1: none."""
    lam: float = 1.0
    """Weight of later steps in GAE; 1: the outcome minus the value."""
    bootstrap_truncated: bool = False
    """Put the critic's value where a truncated answer was cut, instead of 0."""
    kind: Literal["gae"] = "gae"
    writes: ClassVar[tuple[str, ...]] = ("advantage", "ret")
    returns_by: ClassVar[str] = "lam"
    """The setting that is the lambda of the returns."""

    @property
    def reads(self) -> tuple[str, ...]:
        values = ("value", "value_after") if self.bootstrap_truncated else ("value",)
        return ("reward", *values)

    def __post_init__(self) -> None:
        check_fractions(self, "gamma", "lam")

    def __call__(self, batch: Batch) -> Batch:
        value, _ = pick(batch.need("value", self), batch)
        ended = final_values(batch, self) if self.bootstrap_truncated else None
        advantage = estimate(batch, value, self.gamma, self.lam, ended)
        return replace(batch, advantage=place(advantage, batch), ret=place(advantage + value, batch))


def estimate(
    batch: Batch, value: Tensor, gamma: float, lam: float | Tensor, ended: Tensor | None = None
) -> Tensor:
    """[A] advantages of the trained tokens from their values [A]; lam is a number or [S]; `ended` [S] is the
    value after the last token of each sequence (0 without it)."""
    reward, offset = pick(batch.reward, batch)
    present = batch.action_lengths > 0
    after = value.roll(-1)
    after[offset[1:][present] - 1] = 0 if ended is None else ended[present].to(value.dtype)
    return ragged.return_to_go(reward + gamma * after - value, offset, gamma * lam)


def final_values(batch: Batch, asker: object) -> Tensor:
    """[S] the critic's value of the state after the last token of each truncated answer, 0 for all other
    answers."""
    after = batch.need("value_after", asker)
    last = ragged.last(batch.trained, batch.offset)
    cut = (batch.finish == FINISHES.index("length")) & (last >= 0)
    return torch.where(cut, after[last.clamp(min=0)], 0)


def check_fractions(part: object, *names: str) -> None:
    """UserError unless the settings of these names lie between 0 and 1."""
    for name in names:
        if not 0 <= getattr(part, name) <= 1:
            raise UserError(
                f"{name} of {type(part).__name__} is {getattr(part, name)}; it lies between 0 and 1"
            )
