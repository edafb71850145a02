"""Weighted maximum likelihood: distributional policy gradients (arXiv 2012.11635; 2206.00761)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from menon import ragged
from menon.advantage.groups import credit_answers, groups_with_signal
from menon.batch import Batch
from menon.errors import UserError


@dataclass(frozen=True)
class PosteriorWeights:
    """a_i = G w_i, w = softmax over the group of r / beta + log ref(y_i) - log q(y_i), q the policy
    that wrote the answers; their mean is 1.

    With the loss `pg` and `SequenceMean` the gradient is that of the KL from the optimum
    ref exp(r / beta) / Z to the policy, which covers all of the optimum, whereas RL seeks a mode. w is the
    self-normalised importance weight: exact as G grows. With written_by="reference" q is ref, as for answers
    from a file that the start wrote, and no log-prob is read. Beta near 0 keeps the best answer alone, as
    RAFT. A group of equal rewards, of one for instance, gives 0, and so does an answer whose grader failed;
    an empty answer takes its share of the weight.
    """

    beta: float = 0.1
    """Weight of the reference: a reward counts r / beta nats."""
    written_by: Literal["policy", "reference"] = "policy"
    """Who wrote the answers: the policy before the step, or the reference."""
    kind: Literal["posterior_weights"] = "posterior_weights"
    writes: ClassVar[tuple[str, ...]] = ("advantage",)
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise UserError(f"beta of posterior_weights is {self.beta}; it divides rewards and is positive")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("reward", "behaviour_logp", "ref_logp") if self.written_by == "policy" else ("reward",)

    def __call__(self, batch: Batch) -> Batch:
        score = batch.outcome.double() / self.beta
        if self.written_by == "policy":
            wrote, reference = (batch.need(name, self) for name in ("behaviour_logp", "ref_logp"))
            ahead = ragged.difference(reference, wrote, batch.trained)
            score = score + ragged.sequence_sum(ahead.double(), batch.offset)
        credit = torch.zeros_like(score)
        for members in groups_with_signal(batch):
            credit[members] = len(members) * score[members].softmax(0)
        return credit_answers(batch, credit)
