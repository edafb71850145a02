"""Importance weights that are kept small: TIS, IcePop, sequence masks, the weight of decoupled PPO (arXiv
2505.24298)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.correction.off_policy import Trainer, bounded, log_weight, sequence_mean, sequence_total
from menon.errors import UserError
from menon.update.protocols import Current


@dataclass(frozen=True)
class Importance:
    """w = pi_old / pi_behaviour of a token, of its whole sequence (the product of its tokens' w) or their
    geometric mean; log w is clamped to +-20. Outside of [low, high] it is clamped to the bound, or 0
    (`outside` "drop").

    Published settings: truncated importance sampling clamps tokens at 2; IcePop drops tokens outside of [.5,
    5]; a sequence mask drops sequences above 3; decoupled PPO is this beside a clipped loss whose old policy
    is newer than the sampler's.

    `trainer` "current" puts the current policy in place of the old one; it is for losses without a ratio of
    their own. `normalise` divides by the mean over the update (of tokens, or of sequences), after the bounds.
    A loss with one number per sequence needs a level that is the same on all its tokens.
    """

    level: Literal["token", "sequence", "geometric"] = "token"
    """Whose ratio is taken: the token's, its answer's, or the answer's mean."""
    outside: Literal["clamp", "drop"] = "clamp"
    """What becomes of a ratio outside of low and high: the bound, or 0."""
    low: float = 0.0
    """Least ratio."""
    high: float = 2.0
    """Largest ratio."""
    trainer: Trainer = "old"
    """The policy above the fraction line: before the step, or as it is now."""
    normalise: bool = False
    """Divide by the mean over the update."""
    kind: Literal["importance"] = "importance"

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1 <= self.high:
            raise UserError(
                f"low {self.low} and high {self.high} of Importance bound a weight: low lies in [0, 1], "
                "high is at least 1"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return ("behaviour_logp", "old_logp") if self.trainer == "old" else ("behaviour_logp",)

    @property
    def fits_answers(self) -> str:
        """What to change for a loss with one number per answer; "" where nothing."""
        return "set its level to sequence or geometric" if self.level == "token" else ""

    @property
    def column(self) -> str:
        return f"importance_{self.level}"

    def prepare(self, batch: Batch, current: Current) -> dict[str, Tensor]:
        if not self.normalise:
            return {}
        weight = self._weight(current("logp")["logp"], batch)
        if self.level == "token":
            mean = ragged.masked_mean(weight, batch.trained)
        else:
            present = batch.action_lengths > 0
            mean = (
                weight[ragged.last(batch.trained, batch.offset)[present]].mean()
                if present.any()
                else weight.new_ones(())
            )
        return {self.column: mean.expand(batch.num_tokens)}

    def __call__(self, logp: Tensor, batch: Batch) -> Tensor:
        weight = self._weight(logp, batch)
        # With every weight 0 there is nothing to normalise.
        return (
            weight / batch.columns[self.column].clamp(min=torch.finfo(weight.dtype).tiny)
            if self.normalise
            else weight
        )

    def _weight(self, logp: Tensor, batch: Batch) -> Tensor:
        log_w = log_weight(logp, batch, self, self.trainer)
        if self.level == "sequence":
            log_w = sequence_total(log_w, batch)
        elif self.level == "geometric":
            log_w = sequence_mean(log_w, batch)
        weight = bounded(log_w).exp()
        if self.outside == "clamp":
            return weight.clamp(self.low, self.high)
        return torch.where((weight >= self.low) & (weight <= self.high), weight, 0)
