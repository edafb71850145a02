"""ReMax: the greedy answer's reward as the baseline (arXiv 2310.10505, algorithm 2)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from menon import ragged
from menon.advantage.reinforce import Reinforce
from menon.batch import Batch


@dataclass(frozen=True)
class ReMax:
    """A_t = sum over t' >= t of r_t' - b, b = the reward of the policy's greedy answer to the same prompt.

    b does not depend on what was sampled, so the estimator is unbiased even for one answer per prompt. Needs
    the rollout `greedy_baseline`. An answer with the same reward as the greedy one gives 0; equal rewards
    within a group do not, and a group of one works like any other. Where the grader failed on the greedy
    answer there is no baseline, and all answers to that prompt give 0.
    """

    kind: Literal["remax"] = "remax"
    reads: ClassVar[tuple[str, ...]] = ("reward", "baseline")
    writes: ClassVar[tuple[str, ...]] = ("advantage",)

    def __call__(self, batch: Batch) -> Batch:
        baseline = ragged.spread(batch.need("baseline", self), batch.offset).to(batch.reward.dtype)
        to_go = Reinforce()(batch).need("advantage", self)
        return replace(batch, advantage=torch.where(batch.trained & ~baseline.isnan(), to_go - baseline, 0))
