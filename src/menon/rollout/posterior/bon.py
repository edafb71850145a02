"""The best of n answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from menon.errors import at_least
from menon.rollout.posterior.drawn import Drawn, equal, tokens_in, too_few
from menon.rollout.posterior.target import OUTSIDE, Target
from menon.rollout.posterior.weights import Weights, bound_on_kl
from menon.types import Graded, Mean, Metric, Prompt

NOT_USABLE = "were possible: none of their {} candidates was graded and ended by itself"


@dataclass(frozen=True)
class BestOfN:
    """Each draw is the answer of the highest reward among n of its own; of equal ones any, uniformly.

    It is not a draw from the target, and beta has no effect. Its KL to the prior is log n - (n - 1) / n where
    no two rewards are equal, and less where some are (arXiv 2401.01879).
    """

    candidates: int = 8
    """Answers of the prior to each draw: n."""
    kind: Literal["bon"] = "bon"

    def __post_init__(self) -> None:
        at_least(1, "candidates", self.candidates)

    def __call__(self, prompts: Sequence[Prompt], target: Target, draws: int) -> list[Drawn]:
        found = chosen(prompts, target, draws, self.candidates, best)
        return [one for one, _ in found]


def best(logs: Sequence[float]) -> Weights | None:
    """[n] equal weights of the largest, 0 for the others."""
    most = max(logs)
    ties = np.asarray(logs) == most
    return None if most == OUTSIDE else ties / ties.sum()


def chosen(
    prompts: Sequence[Prompt],
    target: Target,
    draws: int,
    candidates: int,
    weigh: Callable[[Sequence[float]], Weights | None],
) -> list[tuple[Drawn, list[Weights]]]:
    """One of `candidates` answers for each draw, by the weights that `weigh` gives to them; and these
    weights."""
    with target.open() as writer:
        written = writer.groups(prompts, draws * candidates)
    found = []
    for prompt, answers in zip(prompts, written, strict=True):
        taken: list[int] = []
        weights: list[Weights] = []
        for draw in range(draws):
            first = draw * candidates
            mine = weigh([target.log_weight(one) for one in answers[first : first + candidates]])
            if mine is not None:
                random = target.random("choose", prompt, draw)
                taken.append(first + int(random.choice(candidates, p=mine)))
                weights.append(mine)
        metrics: dict[str, Metric] = {"kl_bound": Mean(bound_on_kl(candidates)), "tokens": tokens_in(answers)}
        note = too_few(len(taken), draws, NOT_USABLE.format(candidates))
        draws_of = equal(pick(answers, taken), steps=taken)
        found.append((Drawn(prompt, draws_of, tuple(answers), metrics, note), weights))
    return found


def pick(answers: Sequence[Graded], numbers: Sequence[int]) -> list[Graded]:
    return [answers[number] for number in numbers]
