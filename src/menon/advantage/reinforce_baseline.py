"""REINFORCE with the mean reward of the step as its baseline (Williams 1992, section 6)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from menon import ragged
from menon.advantage.groups import credit_answers
from menon.batch import Batch


@dataclass(frozen=True)
class ReinforceBaseline:
    """a_i = R_i - mean of all rewards of the step, the same for each token of answer i; groups are not used.

    The answer's own reward is part of the mean, so with N answers the expected gradient is (N - 1) / N of the
    true one. One answer, or equal rewards, give 0. Empty answers, and truncated ones with the reward they
    got, count in the mean; answers whose grader failed do not and get 0.
    """

    kind: Literal["reinforce_baseline"] = "reinforce_baseline"
    reads: ClassVar[tuple[str, ...]] = ("reward",)
    writes: ClassVar[tuple[str, ...]] = ("advantage",)

    def __call__(self, batch: Batch) -> Batch:
        outcome = batch.outcome.double()
        mean = ragged.masked_mean(outcome, batch.valid)
        equal = bool(
            (outcome[batch.valid] == outcome[batch.valid][:1]).all()
        )  # then the mean may differ from them by rounding
        return credit_answers(batch, torch.zeros_like(outcome) if equal else outcome - mean)
