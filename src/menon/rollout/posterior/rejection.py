"""Rejection sampling with the prior as the proposal: exact draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menon.errors import UserError, at_least
from menon.rollout.posterior.drawn import Drawn, equal, tokens_in, too_few
from menon.rollout.posterior.target import OUTSIDE, Target
from menon.types import Graded, Mean, Metric, Prompt


@dataclass(frozen=True)
class Rejection:
    """Accepts an answer of the prior with probability exp((r - max_reward) / beta).

    Draws are exact and independent. A prompt is left with fewer after `max_tries` answers. The expected
    number of answers for a draw is exp(max_reward / beta) / Z, for a binary reward with pass rate p and small
    beta about 1 / p. UserError: a reward above `max_reward`.
    """

    max_reward: float = 1.0
    """Upper bound of the reward."""
    max_tries: int = 1000
    """Most answers that are written to a prompt."""
    kind: Literal["rejection"] = "rejection"

    def __post_init__(self) -> None:
        at_least(1, "max_tries", self.max_tries)

    def __call__(self, prompts: Sequence[Prompt], target: Target, draws: int) -> list[Drawn]:
        written: list[list[Graded]] = [[] for _ in prompts]
        taken: list[list[int]] = [[] for _ in prompts]
        with target.open() as writer:
            while True:
                counts = [self.more(draws, *each) for each in zip(written, taken, strict=True)]
                asked = [
                    (prompt, len(known) + number)
                    for prompt, known, count in zip(prompts, written, counts, strict=True)
                    for number in range(count)
                ]
                if not asked:
                    break
                answers = iter(writer.answers(asked))
                for prompt, known, found, count in zip(prompts, written, taken, counts, strict=True):
                    group = [next(answers) for _ in range(count)]
                    found += self.accepted(target, prompt, group, len(known))
                    known += group
        return [self.drawn(*each, draws) for each in zip(prompts, written, taken, strict=True)]

    def more(self, draws: int, written: Sequence[Graded], taken: Sequence[int]) -> int:
        """How many answers to write next to one prompt: what its own rate of acceptance asks for, at most
        twice as many as there are."""
        missing, tries = max(draws - len(taken), 0), len(written)
        wanted = -(-missing * (tries + 1) // (len(taken) + 1))
        return min(wanted, max(2 * tries, draws), self.max_tries - tries)

    def accepted(self, target: Target, prompt: Prompt, group: Sequence[Graded], first: int) -> list[int]:
        """Numbers of the accepted answers of a group that is numbered from `first`."""
        found = []
        for number, one in enumerate(group, start=first):
            ahead = target.log_weight(one) - self.max_reward / target.beta
            if ahead > 0:
                raise UserError(
                    f"rejection takes rewards for at most {self.max_reward:g}, and an answer got "
                    f"{one.verdict.score:g}; set method.max_reward to the largest reward there is"
                )
            if ahead > OUTSIDE and target.random("accept", prompt, number).random() < math.exp(ahead):
                found.append(number)
        return found

    def drawn(self, prompt: Prompt, written: Sequence[Graded], taken: Sequence[int], draws: int) -> Drawn:
        few = taken[:draws]
        metrics: dict[str, Metric] = {
            "acceptance": Mean(len(taken), len(written)),
            "ess": Mean(len(few)),
            "tokens": tokens_in(written),
        }
        why = f"were accepted among {len(written)} answers; raise beta or method.max_tries"
        answers = [written[number] for number in few]
        note = too_few(len(few), draws, why)
        # Only the first round was asked for whatever its answers were.
        return Drawn(prompt, equal(answers, steps=few), tuple(written[:draws]), metrics, note)
