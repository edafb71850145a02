"""Graders of a target that are no reward: log-probs and energies of a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from menon.errors import UserError
from menon.rollout.posterior.target import Target
from menon.types import Graded, Rollout, Verdict


def proposed(graded: Graded) -> float:
    """S_T: the log-prob of an answer as it was written."""
    rollout = graded.rollout
    return float(rollout.logp[rollout.is_action].sum(dtype="float64"))


@dataclass(frozen=True)
class Scored:
    """A grader whose scores come from a function of all answers at once."""

    score: Callable[[Sequence[Rollout]], Sequence[float]]

    def __call__(self, rollout: Rollout) -> Verdict:
        return self.grade_all([rollout])[0]

    def grade_all(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        return [Verdict(float(score), float("nan")) for score in self.score(rollouts)]


def log_prob(target: Target) -> Scored:
    """Scores an answer by its log-prob at temperature 1. UserError: the model is not in this process."""
    untempered = target.untempered
    if untempered is None:
        raise UserError("power needs the log-probs of a model in this process; take another method")

    def score(rollouts: Sequence[Rollout]) -> list[float]:
        columns = untempered(rollouts)
        return [
            float(logp[len(one.prompt.tokens) :].sum(dtype="float64"))
            for one, logp in zip(rollouts, columns, strict=True)
        ]

    return Scored(score)
