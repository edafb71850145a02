"""The optimal token baseline: a baseline for each place of the answers to one prompt (verl;
docs/numerics.md, 10.15)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.advantage.actions import pick, place
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class OptimalToken:
    """A_it = G_it - B_t, B_t = sum over the group's i of G_it W_it / (sum of W_it + eps); G is the reward
    that is still to come.

    W_it = sum over t' <= t of 1 - 2 pi(y_t') + sum_v pi_v^2 of the old policy: the squared length of the
    score with respect to the logits, so B_t is near the baseline of least variance at each place. t counts
    the policy's own tokens; answers that have already ended at t are in no sum. The answer's own reward is
    part of B_t. Groups of one and groups whose rewards to come are equal at every place give 0; answers that
    are not trained are left out.
    """

    lone: Literal["own", "none"] = "own"
    """The baseline at places that only one answer of the group reaches: "own" is its own reward, so A is
    about 0; "none" is 0, so A = G."""
    importance: float | None = None
    """Bound of w = pi_old / pi_behaviour, whose square multiplies each token's summand of W; null leaves w
    out."""
    eps: float = 1e-8
    """Added to the sum of the weights."""
    kind: Literal["optimal_token"] = "optimal_token"
    writes: ClassVar[tuple[str, ...]] = ("advantage",)
    compares: ClassVar[bool] = True

    @property
    def reads(self) -> tuple[str, ...]:
        weighed = () if self.importance is None else ("behaviour_logp",)
        return ("reward", "old_logp", "collision", *weighed)

    def __post_init__(self) -> None:
        if not self.eps > 0:
            raise UserError(
                f"eps of OptimalToken is {self.eps}; it must be positive, as it divides where the policy "
                "was sure"
            )
        if self.importance is not None and not self.importance >= 1:
            raise UserError(
                f"importance of OptimalToken is {self.importance}; it bounds a weight and is at least 1, "
                "or null"
            )

    def __call__(self, batch: Batch) -> Batch:
        reward, offset = pick(batch.reward.double(), batch)
        to_go = ragged.pad(ragged.return_to_go(reward, offset), offset)
        energy = ragged.pad(pick(self._summand(batch), batch)[0], offset).cumsum(1)
        there = ragged.pad(torch.ones_like(reward), offset)
        names, group = torch.unique(batch.group, return_inverse=True)

        def total(rows: Tensor) -> Tensor:
            return rows.new_zeros(len(names), rows.shape[1]).index_add(0, group, rows)[group]

        baseline = total(to_go * energy * there) / (total(energy * there) + self.eps)
        if self.lone == "none":
            baseline = torch.where(total(there) > 1, baseline, 0)
        credit = torch.where(_differ(to_go, there, group, len(names))[:, None], to_go - baseline, 0)
        return replace(batch, advantage=place(ragged.unpad(credit, offset).to(batch.reward.dtype), batch))

    def _summand(self, batch: Batch) -> Tensor:
        """[N] squared length of each token's score, clamped at 0 against rounding, and multiplied by w^2
        where `importance` is set."""
        old = batch.need("old_logp", self).double()
        squared = (1 - 2 * old.exp() + batch.need("collision", self).double()).clamp(min=0)
        if self.importance is None:
            return squared
        return (
            squared
            * (old - batch.need("behaviour_logp", self).double()).exp().clamp(max=self.importance).square()
        )


def _differ(to_go: Tensor, there: Tensor, group: Tensor, count: int) -> Tensor:
    """[S] whether the answers of the sequence's group differ: at some place their rewards to come are not
    equal."""
    index = group[:, None].expand_as(to_go)

    def extreme(fill: float, reduce: str) -> Tensor:
        rows = torch.where(there > 0, to_go, fill)
        return rows.new_full((count, rows.shape[1]), fill).scatter_reduce(0, index, rows, reduce=reduce)

    return (extreme(-torch.inf, "amax") > extreme(torch.inf, "amin")).any(1)[group]
