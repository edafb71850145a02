"""Off-policy sequence masking: leaves out bad answers that the policy has already moved away from
(DeepSeek-V3.2, arXiv 2512.02556)."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.correction.off_policy import sequence_mean
from menon.errors import UserError


@dataclass(frozen=True)
class OPSM:
    """0 for tokens with A_t < 0 in a sequence where the mean of log pi_old - log pi is above `most`, else 1.

    A clip bounds single tokens; this mask leaves out a whole answer that has been pushed down repeatedly.
    `since` "behaviour" measures from the policy that wrote the text instead of the old policy. Measured from
    the old policy, the first update of a step keeps everything.
    """

    most: float = 0.01
    """Largest mean of log pi_old - log pi that an answer may have."""
    since: Literal["old", "behaviour"] = "old"
    """The policy that is measured from: before the step, or the one that wrote."""
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
        drift = sequence_mean(ragged.difference(start, logp, batch.trained), batch)
        return (~(batch.trained & (batch.need("advantage", self) < 0) & (drift > self.most))).to(logp)
