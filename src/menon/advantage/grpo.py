"""GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1) and Dr.GRPO (arXiv 2503.20783)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon.advantage.groups import credit_groups
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class GRPO:
    """a_i = (R_i - mean of the group) / (std of the group + eps), the same for each token of answer i.

    `std_mode`: "bessel" divides by the sample standard deviation, "population" by the population standard
    deviation of the G rewards, "none" only centres (Dr.GRPO), "loo" takes mean and sample deviation of the G
    - 1 *other* answers, and does not divide where those others are all equal; where they nearly are, it can
    be very large. "batch" divides by the sample deviation of all rewards of the step (TRL), so that no prompt
    weighs more for being easy or hard.

    A group of one and a group of equal rewards give 0. An empty answer counts in the mean and the deviation
    of its group. An answer whose grader failed is in neither and gets 0.
    """

    std_mode: Literal["bessel", "population", "loo", "none", "batch"] = "bessel"
    """What the centred reward is divided by."""
    eps: float = 1e-6
    """Added to the deviation."""
    kind: Literal["grpo"] = "grpo"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.eps < 0:
            raise UserError(
                f"eps of GRPO is {self.eps}; it is added to a standard deviation and must be 0 or positive"
            )

    def __call__(self, batch: Batch) -> Batch:
        if self.std_mode != "batch":
            return credit_groups(batch, self.of_group)
        rewards = batch.outcome.double()[batch.valid]
        scale = 1 / (rewards.std() + self.eps) if len(rewards) > 1 else 1.0
        return credit_groups(batch, lambda outcome_G: (outcome_G - outcome_G.mean()) * scale)

    def of_group(self, outcome_G: Tensor) -> Tensor:
        """[G] outcomes that are not all equal -> [G] credit."""
        centred_G = outcome_G - outcome_G.mean()
        if self.std_mode == "none":
            return centred_G
        if self.std_mode == "loo":
            return self._against_others(outcome_G)
        return centred_G / (outcome_G.std(correction=int(self.std_mode == "bessel")) + self.eps)

    def _against_others(self, outcome_G: Tensor) -> Tensor:
        size = len(outcome_G)
        others_GO = outcome_G.expand(size, size)[~outcome_G.new_ones(size).diag().bool()].view(size, size - 1)
        centred_G = outcome_G - others_GO.mean(1)
        if size == 2:
            return centred_G
        spread_G = others_GO.std(1)
        return centred_G.where(others_GO.amax(1) == others_GO.amin(1), centred_G / (spread_G + self.eps))
