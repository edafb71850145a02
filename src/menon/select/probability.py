"""Keeps only tokens of low probability (SPO, arXiv 2505.23564, section 4.3)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from menon.batch import Batch
from menon.errors import UserError
from menon.types import Unit


@dataclass(frozen=True)
class ProbabilityMask:
    """Keeps the tokens whose probability under the old policy is below `below`; all of them if an update has
    none.

    Where the old policy was not scored (first update of a step), the probabilities are those of the sampler
    that wrote the text. The authors divide by the number of kept tokens: aggregation `SelectedMean`.
    """

    below: float = 0.9
    """Tokens with a lower probability under the old policy are kept."""
    kind: Literal["probability"] = "probability"
    per: ClassVar[Unit] = "token"
    reads: ClassVar[tuple[str, ...]] = ("behaviour_logp",)

    def __post_init__(self) -> None:
        if not 0 < self.below <= 1:
            raise UserError(
                f"below of ProbabilityMask is {self.below}; it is a probability above 0 and at most 1"
            )

    def __call__(self, batch: Batch) -> Tensor:
        uncertain = batch.trained & (batch.need("policy_logp", self) < math.log(self.below))
        return uncertain if uncertain.any() else batch.trained
