"""M2PO: bounds the second moment of the log-ratios by leaving out the largest of them (arXiv 2510.01161)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon.batch import Batch
from menon.correction.off_policy import log_weight
from menon.errors import UserError
from menon.update.protocols import Current


@dataclass(frozen=True)
class M2PO:
    """Weight 0 for the tokens with the largest (log pi_old - log pi_behaviour)^2, as few as bring the mean
    over the update's other tokens below `most`; weight 1 for the others. At least one token stays. Of tokens
    with equal values, later ones are left out first. This is AReaL's form; the paper looks only among tokens
    that PPO's clip could act on.
    """

    most: float = 0.04
    """Bound on the mean squared log-ratio of the tokens that stay."""
    kind: Literal["m2po"] = "m2po"
    reads: ClassVar[tuple[str, ...]] = ("behaviour_logp", "old_logp")
    column: ClassVar[str] = "m2po"
    fits_answers: ClassVar[str] = "take reject with over=max instead"
    """What to change for a loss with one number per answer."""

    def __post_init__(self) -> None:
        if self.most <= 0:
            raise UserError(
                f"most of M2PO is {self.most}; a mean of squares is held below it, so it must be positive"
            )

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        logp = current("logp")["logp"] if batch.old_logp is None else batch.old_logp
        place = batch.trained.nonzero()[:, 0]
        square, order = log_weight(logp, batch, self)[place].square().sort(stable=True)
        mean = square.cumsum(0) / torch.arange(1, len(square) + 1, device=square.device)
        # The means of growing squares grow, so those below the bound come first.
        kept = place[order[: max(1, int((mean < self.most).sum()))]]
        return {self.column: torch.zeros_like(batch.trained).index_fill(0, kept, True)}

    def __call__(self, logp: Tensor, batch: Batch) -> Tensor:
        return batch.columns[self.column].to(logp)
