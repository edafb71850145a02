"""GPG: group policy gradient (arXiv 2504.02546, equation 7)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from menon.advantage.groups import credit_answers, groups_with_signal
from menon.advantage.grpo import GRPO
from menon.batch import Batch

NO_SPREAD = 1e-5
"""A group whose standard deviation is at most this counts as a group without spread (as in the authors'
code)."""


@dataclass(frozen=True)
class GPG:
    """a_i = alpha (R_i - mean of the group) / F, F = 1, or with `std_mode` "bessel" the sample deviation +
    eps.

    alpha = answers / answers of groups with spread, over the whole step: groups whose answers are all right
    or all wrong add nothing to the gradient but count in its mean, and alpha compensates for that. It
    therefore changes the size of the step with every batch. Groups of one and groups of equal rewards give 0;
    if all groups are like that, alpha is 0. Empty answers count; failed graders do not.
    """

    std_mode: Literal["none", "bessel"] = "none"
    """What the centred reward is divided by."""
    eps: float = 1e-4
    """Added to the deviation."""
    kind: Literal["gpg"] = "gpg"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        GRPO(self.std_mode, self.eps)  # refuses a negative eps

    def __call__(self, batch: Batch) -> Batch:
        outcome = batch.outcome.double()
        credit = torch.zeros_like(outcome)
        teaching = 0
        for members in groups_with_signal(batch):
            if outcome[members].std() > NO_SPREAD:
                credit[members] = GRPO(self.std_mode, self.eps).of_group(outcome[members])
                teaching += len(members)
        return credit_answers(batch, credit * float(batch.valid.sum()) / max(teaching, 1))
