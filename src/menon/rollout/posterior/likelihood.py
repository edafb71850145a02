"""Log-probs of whole answers: at temperature 1, and as they were proposed."""

from collections.abc import Sequence
from dataclasses import dataclass

from menon.errors import UserError
from menon.rollout.posterior.target import Target
from menon.types import Graded, Rollout, Verdict


def proposed(graded: Graded) -> float:
    """S_T: the log-prob of an answer as it was written."""
    rollout = graded.rollout
    return float(rollout.logp[rollout.is_action].sum(dtype="float64"))


@dataclass(frozen=True)
class LogProb:
    """A grader whose score is the answer's log-prob at temperature 1."""

    target: Target

    def __call__(self, rollout: Rollout) -> Verdict:
        return self.grade_all([rollout])[0]

    def grade_all(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        if self.target.untempered is None:
            raise UserError("power needs the log-probs of a model in this process; take another method")
        return [
            Verdict(float(logp[len(one.prompt.tokens) :].sum(dtype="float64")), float("nan"))
            for one, logp in zip(rollouts, self.target.untempered(rollouts), strict=True)
        ]
