"""Advantages of mean 0 and variance 1 over a step."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from menon import ragged
from menon.advantage.segment import check_probability
from menon.batch import Batch
from menon.errors import UserError

Scope = Literal["token", "sequence"]


@dataclass(frozen=True)
class Whiten:
    """A <- (A - mean) / sqrt(var + eps) over all trained tokens of a step; with fewer than two tokens only
    the mean is subtracted.

    `std_mode`: "bessel" takes the sample variance, "population" the population variance, "none" only centres.
    `eps_on`: "variance", or "deviation" for (A - mean) / (std + eps). `scope`: with "token" long answers
    weigh more in mean and variance; with "sequence" each answer with tokens counts once, by the mean of its
    advantages. `centre=false` only rescales, so that every advantage keeps its sign. `below` takes the
    statistics over tokens whose probability under the old policy is below it (over all if there is none), and
    applies them to every token (SPO, arXiv 2505.23564); 1 is off.

    A group without signal can get an advantage that is not 0. Comes after the estimator; value targets stay
    as they are.
    """

    std_mode: Literal["bessel", "population", "none"] = "bessel"
    """What the centred advantage is divided by."""
    eps: float = 1e-8
    """Added to the variance or the deviation."""
    eps_on: Literal["variance", "deviation"] = "variance"
    """Where eps is added."""
    scope: Scope = "token"
    """Whether mean and deviation count each token, or each answer once."""
    centre: bool = True
    """Subtract the mean; false: only rescale, so that every sign stays."""
    below: float = 1.0
    """Statistics over tokens with a probability below this; 1: over all."""
    kind: Literal["whiten"] = "whiten"
    writes: ClassVar[tuple[str, ...]] = ("advantage",)

    def __post_init__(self) -> None:
        if self.eps < 0:
            raise UserError(
                f"eps of Whiten is {self.eps}; it keeps a division from zero and must be 0 or positive"
            )
        check_probability(self, self.below)
        if self.below < 1 and self.scope == "sequence":
            raise UserError(
                "below of Whiten chooses tokens, and scope=sequence counts answers; leave one of them out"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return ("advantage",) if self.below == 1 else ("advantage", "behaviour_logp")

    def __call__(self, batch: Batch) -> Batch:
        advantage, trained = batch.need("advantage", self), batch.trained
        counted, mask = advantage, trained
        if (
            self.below < 1
            and (uncertain := trained & (batch.need("policy_logp", self) < math.log(self.below))).any()
        ):
            mask = uncertain
        if self.scope == "sequence":
            size = batch.action_lengths
            mask = size > 0
            counted = ragged.sequence_sum(torch.where(trained, advantage, 0), batch.offset) / size.clamp(
                min=1
            )
        mean = ragged.masked_mean(counted, mask)
        count = mask.sum()
        if self.std_mode == "none" or count < 2:
            scale = torch.ones_like(mean)
        else:
            squares = torch.where(mask, counted - mean, 0).square().sum()
            variance = squares / (count - int(self.std_mode == "bessel"))
            scale = (
                (variance + self.eps).rsqrt()
                if self.eps_on == "variance"
                else 1 / (variance.sqrt() + self.eps)
            )
        return replace(batch, advantage=torch.where(trained, (advantage - mean * self.centre) * scale, 0))
