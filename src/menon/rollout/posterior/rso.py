"""Statistical rejection sampling (RSO, arXiv 2309.06657, section 3.3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menon.errors import UserError, at_least
from menon.rollout.posterior.drawn import Drawn, equal, tokens_in, too_few
from menon.rollout.posterior.target import OUTSIDE, Target
from menon.types import Graded, Mean, Metric, Prompt


@dataclass(frozen=True)
class RSO:
    """Accepts of n answers of the prior without replacement, each with probability exp((r - max) / beta),
    pass after pass until there are enough; max is the largest reward of a candidate not yet accepted.

    It needs no bound on the reward, and is approximate for that: the best candidate is always accepted, and
    the draws to one prompt are different candidates, so many draws from few candidates are near to the prior.
    UserError: more draws than candidates.
    """

    candidates: int = 64
    """Answers of the prior to each prompt: n."""
    kind: Literal["rso"] = "rso"

    def __post_init__(self) -> None:
        at_least(1, "candidates", self.candidates)

    def __call__(self, prompts: Sequence[Prompt], target: Target, draws: int) -> list[Drawn]:
        if draws > self.candidates:
            raise UserError(
                f"rso draws without replacement, {draws} of {self.candidates} candidates; lower draws, or "
                "raise method.candidates"
            )
        with target.open() as writer:
            groups = writer.groups(prompts, self.candidates)
        return [self.accepted(*each, target, draws) for each in zip(prompts, groups, strict=True)]

    def accepted(self, prompt: Prompt, group: Sequence[Graded], target: Target, draws: int) -> Drawn:
        logs = [target.log_weight(one) for one in group]
        left = [number for number, log in enumerate(logs) if log > OUTSIDE]
        random = target.random("accept", prompt)
        found: list[int] = []
        tries = 0
        while left and len(found) < draws:
            most = max(logs[number] for number in left)
            for number in list(left):
                tries += 1
                if random.random() < math.exp(logs[number] - most):
                    found.append(number)
                    left.remove(number)
                if len(found) == draws:
                    break
        metrics: dict[str, Metric] = {"acceptance": Mean(len(found), tries), "tokens": tokens_in(group)}
        why = f"were possible: so few of {len(group)} candidates were graded and ended by themselves"
        draws_of = equal([group[number] for number in found], steps=found)
        return Drawn(prompt, draws_of, tuple(group), metrics, too_few(len(found), draws, why))
