"""Leaves out tokens and sequences whose probability differs too much between the sampler and the trainer."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.correction.off_policy import Trainer, bounded, log_weight, sequence_mean, sequence_total
from menon.errors import UserError


@dataclass(frozen=True)
class Reject:
    """1 for what is kept and 0 for the rest, by a divergence of w = pi_old / pi_behaviour; log w is clamped
    to +-20.

    k1: kept within low <= w <= high; k2 = (log w)^2 / 2 and k3 = w - 1 - log w: kept up to `high`. `over`
    chooses what is judged: each token, or the whole sequence by the sum over its tokens (for k1 the product
    of w), by their mean (for k1 the geometric mean: the Geo filter, within [.999, 1.002] in its paper), or by
    its worst token.
    """

    high: float
    """Largest divergence that is kept."""
    low: float = 0.0
    """Least ratio that is kept, with divergence=k1."""
    divergence: Literal["k1", "k2", "k3"] = "k1"
    """What is compared with the bounds: the ratio, or an estimate of the KL."""
    over: Literal["token", "sum", "mean", "max"] = "mean"
    """What is judged: each token, or an answer by sum, mean or worst token."""
    trainer: Trainer = "old"
    """The policy above the fraction line: before the step, or as it is now."""
    kind: Literal["reject"] = "reject"

    def __post_init__(self) -> None:
        if self.divergence == "k1" and not 0 <= self.low <= 1 <= self.high:
            raise UserError(
                f"low {self.low} and high {self.high} of Reject bound a ratio: low lies in [0, 1], high "
                "is at least 1"
            )
        if self.divergence != "k1" and (self.low != 0 or self.high < 0):
            raise UserError(f"Reject by {self.divergence} has one bound: high, 0 or more, and no low")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("behaviour_logp", "old_logp") if self.trainer == "old" else ("behaviour_logp",)

    @property
    def fits_answers(self) -> str:
        """What to change for a loss with one number per answer; "" where nothing."""
        return "set its over to sum, mean or max" if self.over == "token" else ""

    def __call__(self, logp: Tensor, batch: Batch) -> Tensor:
        log_w = bounded(log_weight(logp, batch, self, self.trainer))
        if self.divergence == "k1":
            value, low, high = log_w, math.log(self.low) if self.low else -math.inf, math.log(self.high)
        else:
            value = log_w.square() / 2 if self.divergence == "k2" else log_w.exp() - 1 - log_w
            low, high = -math.inf, self.high
        if self.over in ("sum", "mean"):
            value = sequence_total(value, batch) if self.over == "sum" else sequence_mean(value, batch)
        outside = batch.trained & ((value < low) | (value > high))
        if self.over == "max":
            outside = ragged.spread(
                ragged.sequence_sum(outside.long(), batch.offset) > 0, batch.offset, batch.num_tokens
            )
        return (~outside).to(log_w)
