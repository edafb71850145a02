"""Off-policy sequence masking: bad answers that the policy has moved away from already (DeepSeek-V3.2, arXiv
2512.02556)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.correction.off_policy import sequence_mean
from menon.errors import UserError


@dataclass(frozen=True)
class OPSM:
    """0 for tokens with A_t < 0 in a sequence where the mean of log pi_old - log pi is above `most`, else 1.

    A clip holds single tokens; this lets go of a whole answer that is pushed down again and again. `since`
    "behaviour" measures against the policy that wrote the text. Against the old policy everything is kept on
    the first update of a step.
    """

    most: float = 0.01
    since: Literal["old", "behaviour"] = "old"
    kind: Literal["opsm"] = "opsm"

    def __post_init__(self) -> None:
        if self.most < 0:
            raise UserError(
                f"most of OPSM is {self.most}; a mean log-ratio of 0 is no change, so set it to 0 or more"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return ("advantage", f"{self.since}_logp")

    def __call__(self, logp: Tensor, batch: Batch) -> Tensor:
        if self.since == "behaviour":
            start = batch.need("behaviour_logp", self)
        else:
            start = logp if batch.old_logp is None else batch.old_logp
        drift = sequence_mean(torch.where(batch.trained, start - logp, 0), batch)
        return (~(batch.trained & (batch.need("advantage", self) < 0) & (drift > self.most))).to(logp)
