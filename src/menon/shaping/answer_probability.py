"""The policy's own probability of the gold answer as reward (RLPR, arXiv 2506.18254)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from menon import ragged
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class AnswerProbability:
    """R <- clip(r - r', 0, 1) + keep R. r is the mean over the tokens of the gold answer y* of their
    probability after the policy's own reasoning z: sum_t pi(y*_t | x, z, y*_<t) / |y*|. z is what it wrote up
    to the last `marker`, and y* stands in the place of the answer that it stated. r' is the same without
    reasoning, right after the question and a marker. No rule or judge compares answers.

    An answer without the marker has r = 0. With `least` c > 0, a group whose rewards deviate (population) by
    less than c times the running mean of that deviation over the steps before has its mean as reward, and so
    teaches nothing; the running mean is the state. Comes before the estimator; `acc` stays as it is. Answers
    whose grader failed and empty ones stay as they are and are in no statistic.

    With an estimator that subtracts the group's mean, r' matters through the clip at 0 alone. Where
    implementations disagree: in the paper r' comes from the policy, as here, in its released code from the
    model of the start, once for each question; that code has keep .1 for the reward of the format and .9 for
    the probability; it asks other questions in place of the groups that it filters; it may add a token that
    ends the answer to y*, and bounds its probability by .5.
    """

    marker: str = "#"
    """The text before a final answer, like <answer>; the built-in tasks have #."""
    debias: bool = True
    """Subtract r', and clip to 0 and 1."""
    keep: float = 0.0
    """Weight of the grader's reward, which is added."""
    least: float = 0.0
    """Least deviation of a group that teaches, as a share of the running mean; 0: any. The paper has .5."""
    decay: float = 0.99
    """Weight of earlier steps in the running mean."""
    kind: Literal["answer_probability"] = "answer_probability"
    writes: ClassVar[tuple[str, ...]] = ("reward",)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("reward", "answer_prob", *(("answer_prior",) if self.debias else ()))

    @property
    def compares(self) -> bool:
        return self.least > 0

    def __post_init__(self) -> None:
        if not self.marker:
            raise UserError(
                "marker of AnswerProbability is empty; it is the text that stands before a final answer, "
                "like # or <answer>"
            )
        if self.keep < 0 or self.least < 0 or not 0 <= self.decay < 1:
            raise UserError(
                f"keep {self.keep}, least {self.least} and decay {self.decay} of AnswerProbability: keep and "
                "least must be 0 or more, and decay from 0 to below 1"
            )

    def init(self) -> Mapping[str, float]:
        return {"deviation": math.nan}

    def __call__(self, batch: Batch, state: Mapping[str, float]) -> tuple[Batch, Mapping[str, float]]:
        last = ragged.last(batch.trained, batch.offset)
        answers = (last >= 0).nonzero()[:, 0]
        if not len(answers):
            return batch, state
        reward = batch.need("answer_prob", self)[last[answers]].to(batch.reward.dtype)
        if self.debias:
            reward = (reward - batch.need("answer_prior", self)[last[answers]]).clamp(0, 1)
        reward, state = self.filtered(reward, batch.group[answers], state)
        changed = torch.zeros_like(batch.outcome, dtype=torch.bool).index_fill(0, answers, True)
        kept = torch.where(ragged.spread(changed, batch.offset), self.keep, 1.0) * batch.reward
        return replace(batch, reward=kept.index_add(0, last[answers], reward)), state

    def filtered(
        self, reward: Tensor, group: Tensor, state: Mapping[str, float]
    ) -> tuple[Tensor, Mapping[str, float]]:
        """[A] rewards, those of a group that deviates too little in place of its mean; and the next state."""
        if not self.least:
            return reward, state
        _, index = torch.unique(group, return_inverse=True)
        size = torch.bincount(index)
        mean = ragged.sum_by(reward, index, len(size)) / size
        deviation = (ragged.sum_by((reward - mean[index]).square(), index, len(size)) / size).sqrt()
        before, now = state["deviation"], float(deviation.mean())
        after = now if math.isnan(before) else self.decay * before + (1 - self.decay) * now
        threshold = 0.0 if math.isnan(before) else self.least * before
        return torch.where((deviation < threshold)[index], mean[index], reward), {"deviation": after}
